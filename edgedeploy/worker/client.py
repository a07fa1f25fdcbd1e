"""Runs a job in a process of its own, so that an SDK's crash, memory, warnings and side effects stay there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from edgedeploy import errors
from edgedeploy.decoding import decoder
from edgedeploy.worker.job import (
    ALL_ORDERS,
    Batch,
    Done,
    Evaluated,
    EvaluateJob,
    ExportJob,
    Failed,
    Job,
    Message,
    Profiled,
    ProfileJob,
    Recorded,
    Step,
)

Tell = Callable[[int, str], None]
"""Gets the number of an order, or ALL_ORDERS, and what is being done for it."""
Outcome = Done | errors.EdgedeployError


class Workers:
    """The worker processes that are running. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, job: ExportJob, *, log: Path, tell: Tell) -> Iterator[tuple[int, Outcome]]:
        """Run ``job``; yields each order's number with its outcome as soon as it is known. On any way out the worker is gone.

        What the SDKs print goes to ``log``. A worker that dies takes the order it was at with it; another does the rest.
        """
        waiting = list(range(len(job.orders)))
        while waiting:
            part = msgspec.structs.replace(job, orders=tuple(job.orders[number] for number in waiting))
            finished = 0
            for outcome in self._one_process(
                part, log, lambda at: tell(at.order if at.order < 0 else waiting[at.order], at.text)
            ):
                yield waiting[finished], outcome
                finished += 1
            del waiting[:finished]

    def evaluate(
        self, job: EvaluateJob, answer: Callable[[tuple[Batch, ...]], None], *, log: Path, emit: Callable[[str], None]
    ) -> Evaluated:
        """Run an evaluation; ``answer`` runs the artifact on the batches while the worker waits.

        Raises:
            EdgedeployError: of kinds Config, Model, Export, and what ``answer`` raises.
        """
        with self._process(log) as process:
            for message in _messages(process, job):
                match message:
                    case Step():
                        emit(message.text)
                    case Recorded():
                        answer(message.batches)
                        _say(process, b"\n")
                    case Evaluated():
                        return message
                    case Failed():
                        raise _error(message)
            raise _death(process.wait(), f"the process that evaluates {job.subject}", job.subject, log)

    def profile(self, job: ProfileJob, *, log: Path, emit: Callable[[str], None]) -> Profiled:
        """Count what a model is made of.

        Raises:
            EdgedeployError: of kinds Config, Model, Compress, Export.
        """
        with self._process(log) as process:
            for message in _messages(process, job):
                match message:
                    case Step():
                        emit(message.text)
                    case Profiled():
                        return message
                    case Failed():
                        raise _error(message)
            raise _death(process.wait(), f"the process that profiles {job.model_name}", job.model_name, log)

    def stop(self) -> None:
        """Kill all, and any that would start."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def _one_process(self, job: ExportJob, log: Path, tell: Callable[[Step], None]) -> Iterator[Outcome]:
        """Outcomes of the first orders, at least one; of all, unless the process died."""
        with self._process(log) as process:
            yield from _converse(process, job, log, tell)

    @contextmanager
    def _process(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        # A worker ends without cleaning up, however it ends: what SDKs leave in their temporary folder is removed here.
        with (
            tempfile.TemporaryDirectory(prefix="edgedeploy-worker-", ignore_cleanup_errors=True) as scratch,
            self._process_with(Path(scratch), log) as process,
        ):
            yield process

    @contextmanager
    def _process_with(self, scratch: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-P", "-m", "edgedeploy.worker", str(scratch), str(log)]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        ) as process:
            with self._lock:
                self._running.add(process)
                stopped = self._stopped
            try:
                if stopped:
                    raise errors.ExportError("stopped")
                yield process
            finally:
                with self._lock:
                    self._running.discard(process)
                _kill(process)
                with suppress(BrokenPipeError):
                    if process.stdin is not None:
                        process.stdin.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers the latter for one that has ended
        os.killpg(process.pid, signal.SIGKILL)


def _say(process: subprocess.Popen[bytes], line: bytes) -> None:
    if process.stdin is None:
        raise errors.InternalError("a worker without pipes")
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()


def _messages(process: subprocess.Popen[bytes], job: Job) -> Iterator[Message]:
    """What a worker says about ``job``, until it falls silent."""
    # stdin stays open for as long as we live: the worker ends itself when it closes.
    if process.stdout is None:
        raise errors.InternalError("a worker without pipes")
    _say(process, msgspec.json.encode(job) + b"\n")
    messages: msgspec.json.Decoder[Message] = decoder(Message)
    for line in process.stdout:
        try:
            yield messages.decode(line)
        except msgspec.DecodeError:  # half a line: the worker was killed while it spoke
            return


def _converse(process: subprocess.Popen[bytes], job: ExportJob, log: Path, tell: Callable[[Step], None]) -> Iterator[Outcome]:
    finished, loading = 0, True
    for message in _messages(process, job):
        loading = loading and isinstance(message, Step) and message.order == ALL_ORDERS
        match message:
            case Step():
                tell(message)
            case Failed(order=number) if number == ALL_ORDERS:
                yield from [_error(message)] * len(job.orders)
                return
            case Failed():
                yield _error(message)
                finished += 1
            case Done():
                yield message
                finished += 1
        if finished == len(job.orders):
            return
    place = ", ".join(each.lane.id for each in job.orders) if loading else job.orders[finished].lane.id
    death = _death(process.wait(), f"the process that exports {job.model_name}", place, log)
    yield from [death] * (len(job.orders) if loading else 1)  # what dies while it loads dies for every lane


def _error(message: Failed) -> errors.EdgedeployError:
    kind: type[errors.EdgedeployError] = getattr(errors, message.kind, errors.InternalError)
    return kind(message.what, where=message.where, seen=message.seen, next_step=message.next_step)


def _death(code: int, who: str, where: str, log: Path) -> errors.ExportError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    tail = log.read_text(errors="replace").strip().splitlines()[-3:] if log.is_file() else []
    advice = "the SDK or the model's own code ended it; try another lane, or the fp32 recipe, to see which step does it"
    if -code == signal.SIGKILL:
        advice = "if nobody killed it, memory ran out: close other programs, give --jobs 1, or export on a larger machine"
    return errors.ExportError(
        f"{who} {how}",
        where=where,
        seen=" | ".join(tail)[-400:],
        next_step=advice,
    )
