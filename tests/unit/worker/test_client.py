"""The conversation with a worker, and every way in which one can end. The worker is a shell script in place of Python."""

from __future__ import annotations

import os
import select
import shlex
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, TFLITE, artifact, planned

from edgedeploy.domain.project import Model
from edgedeploy.domain.target import Lane
from edgedeploy.errors import ConfigError, EdgedeployError, ExportError, InternalError, ModelError
from edgedeploy.worker.client import Outcome, Workers
from edgedeploy.worker.job import ALL_ORDERS, Dependencies, Done, ExportJob, Failed, Message, Order, Step


class Desk:
    """A job, and a script that is run as ``sys.executable -P -m edgedeploy.worker SCRATCH LOG``: ``$scratch``, ``$log`` there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "worker.log"
        self.told: list[tuple[int, str]] = []
        self.workers = Workers()
        self._monkeypatch = monkeypatch

    def job(self, *lanes: Lane) -> ExportJob:
        return ExportJob(
            project_root=str(self.folder), project_file=str(self.folder / "edgedeploy.toml"), model_name="net",
            model=Model(source="model.py:net"), compress=(), os="linux", min_os="", compute_units="all", runtime_versions={},
            orders=tuple(Order(lane=lane, recipe=lane.precision, folder=str(self.folder)) for lane in lanes),
        )  # fmt: skip

    def done(self, order: int = 0) -> Done:
        made = artifact(self.folder / "artifact", planned())
        return Done(order=order, artifact=made, dependencies=Dependencies(files={"model.py": "0"}, distributions={}))

    def stand_in(self, *lines: str) -> None:
        script = self.folder / "python"
        script.write_text("\n".join(["#!/bin/sh", "scratch=$4 log=$5", *lines, ""]))
        script.chmod(0o755)
        self._monkeypatch.setattr(sys, "executable", str(script))

    def outcomes(self, *lanes: Lane) -> list[tuple[int, Outcome]]:
        return list(self.workers.run(self.job(*lanes), log=self.log, tell=lambda order, text: self.told.append((order, text))))

    def run(self) -> Outcome:
        ((_, outcome),) = self.outcomes(FP32)
        return outcome

    def error(self) -> EdgedeployError:
        outcome = self.run()
        assert isinstance(outcome, EdgedeployError)
        return outcome


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """No stand-in yet."""
    return Desk(tmp_path, monkeypatch)


def say(message: Message) -> str:
    return f"printf '%s\\n' {shlex.quote(msgspec.json.encode(message).decode())}"


def test_steps_are_told_and_the_result_comes_back(desk: Desk) -> None:
    desk.stand_in(
        "read -r job",
        f'echo "$job" > {desk.folder}/job.json',
        'echo "$@" >&2',
        say(Step(order=0, text="tracing")),
        say(desk.done()),
    )
    assert desk.run() == desk.done()
    assert desk.told == [(0, "tracing")]
    assert msgspec.json.decode((desk.folder / "job.json").read_bytes(), type=ExportJob) == desk.job(FP32)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux can wait for a process that is nobody's child")
def test_a_worker_that_hangs_after_its_answer_is_ended_with_its_children(desk: Desk) -> None:
    # A child that keeps running would hold the pipe, and the end of the file would never come.
    desk.stand_in(f"sleep 1000 & echo $! > {desk.folder}/children", "read -r job", say(desk.done()), "sleep 1000")
    assert desk.run() == desk.done()
    child = int((desk.folder / "children").read_text())
    with suppress(ProcessLookupError):
        ended = os.pidfd_open(child)
        assert select.select([ended], [], [], 30)[0] == [ended]
        os.close(ended)


def test_threads_of_the_engines_are_limited_unless_the_user_says_otherwise(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.stand_in("read -r job", f"echo $OMP_NUM_THREADS >> {desk.folder}/threads", say(desk.done()))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    desk.run()
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    desk.run()
    assert (desk.folder / "threads").read_text().split() == ["1", "6"]


@pytest.mark.parametrize(
    ("kind", "expected"), [("ModelError", ModelError), ("ConfigError", ConfigError), ("NoSuchError", InternalError)]
)
def test_an_error_of_the_worker_is_raised_here_as_it_was_there(desk: Desk, kind: str, expected: type[EdgedeployError]) -> None:
    desk.stand_in(
        "read -r job", say(Failed(order=0, kind=kind, what="raised", where="model.py:3", seen="boom", next_step="mend it"))
    )
    error = desk.error()
    assert type(error) is expected
    assert (error.what, error.where, error.seen, error.next_step) == ("raised", "model.py:3", "boom", "mend it")


@pytest.mark.parametrize("end", ["", "kill -KILL $$"])
def test_what_a_worker_leaves_in_its_temporary_folder_is_removed(desk: Desk, end: str) -> None:
    desk.stand_in(
        "read -r job",
        "mkdir $scratch/package",
        "echo weights > $scratch/package/weight.bin",
        f"echo $scratch > {desk.folder}/scratch",
        end,
        say(desk.done()),
    )
    desk.run()
    assert not Path((desk.folder / "scratch").read_text().strip()).exists()


def test_a_worker_that_is_killed_for_memory(desk: Desk) -> None:
    desk.stand_in("read -r job", say(Step(order=0, text="lowering")), 'echo "allocating" > "$log"', "kill -KILL $$")
    error = desk.error()
    assert isinstance(error, ExportError)
    assert error.what == "the process that exports net was killed by SIGKILL"
    assert error.where == FP32.id
    assert error.seen == "allocating"
    assert "memory ran out" in error.next_step
    assert desk.told == [(0, "lowering")]


@pytest.mark.parametrize("name", ["SEGV", "ABRT"])
def test_a_worker_that_crashes(desk: Desk, name: str) -> None:
    desk.stand_in("read -r job", "i=0; while [ $i -lt 9 ]; do i=$((i + 1)); echo line $i; done > $log", f"kill -{name} $$")
    error = desk.error()
    assert error.what == f"the process that exports net was killed by SIG{name}"
    assert error.seen == "line 7 | line 8 | line 9"
    assert "try another lane" in error.next_step
    assert error.exit_code == 4


def test_a_worker_that_ends_without_an_answer(desk: Desk) -> None:
    desk.stand_in("read -r job", "exit 3")
    error = desk.error()
    assert error.what == "the process that exports net ended with code 3"
    assert error.seen == ""


def test_a_log_that_is_no_text_and_very_long_is_quoted_in_part(desk: Desk) -> None:
    desk.stand_in("read -r job", "head -c 5000 /dev/zero | tr '\\0' '\\377' > $log", "exit 1")
    error = desk.error()
    assert 0 < len(error.seen) <= 400
    assert str(error)


def test_stopping_ends_what_runs_and_what_would_start(desk: Desk) -> None:
    desk.stand_in("read -r job", say(Step(order=0, text="tracing")), "exec sleep 1000")
    started = threading.Event()
    errors: list[EdgedeployError] = []

    def work() -> None:
        for _, outcome in desk.workers.run(desk.job(FP32), log=desk.log, tell=lambda _order, _text: started.set()):
            assert isinstance(outcome, EdgedeployError)
            errors.append(outcome)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(30)
    desk.workers.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [ExportError]
    with pytest.raises(ExportError, match="stopped"):
        desk.run()


@pytest.mark.parametrize("lines", [["exec 0<&-", "exit 3"], ["read -r job", 'printf \'{"type":"do\'', "exit 3"]])
def test_a_worker_that_dies_before_or_in_the_middle_of_speaking(desk: Desk, lines: list[str]) -> None:
    desk.stand_in(*lines)
    for _ in range(20):
        assert "ended with code 3" in desk.error().what


def test_a_worker_that_dies_in_a_lane_takes_that_lane_with_it_and_another_does_the_rest(desk: Desk) -> None:
    # The first process does one lane and dies in the second; the next is given the last one alone.
    desk.stand_in(
        "read -r job",
        f'echo "$job" >> {desk.folder}/jobs.json',
        f"if [ $(wc -l < {desk.folder}/jobs.json) = 2 ]; then",
        say(desk.done(0)),
        "exit; fi",
        say(desk.done(0)),
        say(Step(order=1, text="lowering")),
        "kill -SEGV $$",
    )
    outcomes = desk.outcomes(FP32, INT8, TFLITE)
    assert [number for number, _ in outcomes] == [0, 1, 2]
    first, second, third = (outcome for _, outcome in outcomes)
    assert isinstance(first, Done)
    assert isinstance(third, Done)
    assert isinstance(second, ExportError)
    assert second.where == INT8.id
    assert desk.told == [(1, "lowering")]
    jobs = [msgspec.json.decode(line, type=ExportJob) for line in (desk.folder / "jobs.json").read_bytes().splitlines()]
    assert [[order.lane for order in job.orders] for job in jobs] == [[FP32, INT8, TFLITE], [TFLITE]]


def test_a_lane_that_fails_leaves_the_others(desk: Desk) -> None:
    failed = Failed(order=0, kind="ExportError", what="no", where="", seen="", next_step="")
    desk.stand_in("read -r job", say(failed), say(desk.done(1)))
    (_, first), (_, second) = desk.outcomes(FP32, INT8)
    assert isinstance(first, ExportError)
    assert second == desk.done(1)


@pytest.mark.parametrize(
    "end", [say(Failed(order=ALL_ORDERS, kind="ModelError", what="no", where="", seen="", next_step="")), "kill -KILL $$"]
)
def test_a_model_that_does_not_load_fails_every_lane_once(desk: Desk, end: str) -> None:
    desk.stand_in("read -r job", f"echo >> {desk.folder}/starts", say(Step(order=ALL_ORDERS, text="loading")), end)
    outcomes = desk.outcomes(FP32, INT8, TFLITE)
    assert [number for number, _ in outcomes] == [0, 1, 2]
    assert len({str(outcome) for _, outcome in outcomes}) == 1
    assert (desk.folder / "starts").read_text() == "\n"
    assert desk.told == [(ALL_ORDERS, "loading")]
