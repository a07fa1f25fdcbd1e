"""Several processes at the same time: how many inferences per second there are in all, and what each then takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from edgedeploy.domain.conditions import During
from edgedeploy.domain.mode_figures import ThroughputFigures
from edgedeploy.errors import CommandTimeoutError, DeviceRunError, RunnerError
from edgedeploy.ports import Completed, Connection
from edgedeploy.runners.document import RunnerDocument
from edgedeploy.runtimes.launch import command
from edgedeploy.shell import quote_command
from edgedeploy.stages.execute import did_not_end, document_of, limit_s
from edgedeploy.stages.modes.session import Session, Taken
from edgedeploy.stages.several import STDERR_BYTES, STDOUT_BYTES, apart, text_of
from edgedeploy.stats import quantile
from edgedeploy.stats.repetitions import estimate

_LEAST_REPETITIONS = 2  # of one there is no interval
_WINDOWS = 20
_NO_PIPES = 9
_FAILED_FOR_ANOTHER = "at stage 'turn'"
# Each process says by a byte that it is ready, or by an f that it has ended before. When all are, each gets a byte, and goes on;
# where one has ended, the others get the end of the file, and end too. A process opens `go` first, so that all wait there
# for this shell; those that are started before it opens its own ends have none of them.
_TOGETHER = f"""
cd %s && rm -rf together && mkdir together && cd together || exit 1
mkfifo ready go || exit {_NO_PIPES}
%s
exec 6>go 5<ready
case $(dd bs=1 count=%d <&5 2>/dev/null) in
*f*) ;;
..*|.) for i in %s; do echo >&6; done ;;
esac
exec 6>&-
wait
for i in %s; do
  tail -c {STDERR_BYTES} $i.log >$i.end
  head -c {STDOUT_BYTES} $i.json >$i.begin
done
echo $(cat %s) $(for i in %s; do wc -c <$i.begin; done) $(for i in %s; do wc -c <$i.end; done)
cat %s %s
"""
_ONE = "mkdir {i}; {{ {command} <go 3>ready >{i}.json 2>{i}.log; echo $? >{i}.code; echo f >ready; }} &"


class NoBarrierError(DeviceRunError):
    """The device has no pipes with names where it can be written: processes cannot begin together there."""


def throughput(session: Session) -> Taken:
    """``processes`` times (twice at least) as many fresh processes as there are to be instances.

    Processes, and not several instances in one: an engine keeps its threads and its arena to itself, one that crashes takes no
    other with it, and what is measured is the same program as in all other modes. The model's file is in memory once.

    Raises:
        RunnerError: a process failed.
        NoBarrierError: they cannot begin together on this device.
        DeviceLostError: the device went away.
    """
    watching, policy = session.watching(), session.policy
    instances, times = policy.throughput.instances, max(_LEAST_REPETITIONS, policy.processes)
    rounds = []
    for number in range(times):
        if number and policy.cooldown_s:
            time.sleep(policy.cooldown_s)
        session.tell(number, times, f"{instances} at once, {policy.max_seconds:g} s")
        rounds.append(together(session, watching, instances))
    documents = [document for one in rounds for document in one]
    return Taken(
        processes=tuple(document.samples for document in documents),
        document=rounds[-1][0],
        outputs=f"{session.placed.scratch}/together/0",
        during=_of_all(watching.seen()),
        figures=ThroughputFigures(
            instances=instances,
            seconds=policy.max_seconds,
            per_second=estimate([sum(map(_rate, one)) for one in rounds]),
            instance_p50_ns=tuple(quantile(document.latency_ns, 0.5) for document in documents),
        ),
    )


def together(session: Session, connection: Connection, instances: int) -> list[RunnerDocument]:
    """One process per instance, all of which begin at the same moment, and what they say.

    Raises:
        RunnerError: one failed.
        NoBarrierError: they cannot begin together on this device.
        DeviceLostError: the device went away.
    """
    placed, policy = session.placed, session.policy
    names = [str(number) for number in range(instances)]
    launches = [
        msgspec.structs.replace(
            session.launch(),
            output_dir=f"{placed.scratch}/together/{name}",
            window_s=policy.max_seconds / _WINDOWS,
            barrier=True,
        )
        for name in names
    ]
    commands = [
        quote_command(command(placed.bundle, launch, runner_dir=placed.runner_dir, python=placed.python)) for launch in launches
    ]
    listed = " ".join(names)
    script = _TOGETHER.strip() % (
        quote_command([placed.scratch]),
        "\n".join(_ONE.format(i=name, command=line) for name, line in zip(names, commands, strict=True)),
        instances,
        listed,
        listed,
        " ".join(f"{name}.code" for name in names),
        listed,
        listed,
        " ".join(f"{name}.begin" for name in names),
        " ".join(f"{name}.end" for name in names),
    )
    try:
        done = connection.run(["sh", "-c", script], timeout_s=limit_s(policy))
    except CommandTimeoutError as error:
        raise did_not_end(placed, error) from error
    if done.exit_code == _NO_PIPES:
        raise NoBarrierError("processes cannot begin together", where=f"device {placed.device}", seen=text_of(done.stderr))
    return _documents(session, apart(done, instances, placed.device))


def _documents(session: Session, ended: Sequence[Completed]) -> list[RunnerDocument]:
    """All of them. Where one process failed, so did the others for want of it: the first is told."""
    documents, failures = [], []
    for number, one in enumerate(ended):
        where = replace(session.placed, device=f"{session.placed.device}, instance {number + 1} of {len(ended)}")
        try:
            documents.append(document_of(where, one, RunnerDocument))
        except RunnerError as error:
            failures.append(error)
    if failures:
        raise next((error for error in failures if _FAILED_FOR_ANOTHER not in error.what), failures[0])
    return documents


def _rate(document: RunnerDocument) -> float:
    return sum(window.iterations for window in document.windows) * 1e9 / max(document.timed_ns or 0, 1)


def _of_all(during: During) -> During:
    """The loop knows the shell's own time only, not that of the processes it started: who else was at work cannot be told."""
    samples = tuple(msgspec.structs.replace(sample, own=None) for sample in during.samples)
    return msgspec.structs.replace(
        during, samples=samples, unavailable=tuple(dict.fromkeys((*during.unavailable, "load by others")))
    )
