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
from unit.stages.planned import FP32, artifact, planned

from edgedeploy.domain.project import Model
from edgedeploy.errors import ConfigError, EdgedeployError, ExportError, InternalError, ModelError
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import Dependencies, Done, ExportJob, Failed, Message, Step


class Desk:
    """A job, and a script that is run as ``sys.executable -m edgedeploy.worker LOG``: ``$log`` there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "worker.log"
        self.emitted: list[str] = []
        self.workers = Workers()
        self._monkeypatch = monkeypatch

    def job(self) -> ExportJob:
        return ExportJob(
            project_root=str(self.folder), project_file=str(self.folder / "edgedeploy.toml"), model_name="net",
            model=Model(source="model.py:net"), recipe="fp32", compress=(), lane=FP32, os="linux", min_os="",
            folder=str(self.folder),
        )  # fmt: skip

    def done(self) -> Done:
        made = artifact(self.folder / "artifact", planned())
        return Done(artifact=made, dependencies=Dependencies(files={"model.py": "0"}, distributions={}))

    def stand_in(self, *lines: str) -> None:
        script = self.folder / "python"
        script.write_text("\n".join(["#!/bin/sh", 'for log in "$@"; do :; done', *lines, ""]))
        script.chmod(0o755)
        self._monkeypatch.setattr(sys, "executable", str(script))

    def run(self) -> Done:
        return self.workers.run(self.job(), log=self.log, emit=self.emitted.append)

    def error(self) -> EdgedeployError:
        with pytest.raises(EdgedeployError) as caught:
            self.run()
        return caught.value


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """No stand-in yet."""
    return Desk(tmp_path, monkeypatch)


def say(message: Message) -> str:
    return f"printf '%s\\n' {shlex.quote(msgspec.json.encode(message).decode())}"


def test_steps_are_told_and_the_result_comes_back(desk: Desk) -> None:
    desk.stand_in(
        "read -r job", f'echo "$job" > {desk.folder}/job.json', 'echo "$@" >&2', say(Step(text="tracing")), say(desk.done())
    )
    assert desk.run() == desk.done()
    assert desk.emitted == ["tracing"]
    assert msgspec.json.decode((desk.folder / "job.json").read_bytes(), type=ExportJob) == desk.job()


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
    desk.stand_in("read -r job", say(Failed(kind=kind, what="raised", where="model.py:3", seen="boom", next_step="mend it")))
    error = desk.error()
    assert type(error) is expected
    assert (error.what, error.where, error.seen, error.next_step) == ("raised", "model.py:3", "boom", "mend it")


def test_a_worker_that_is_killed_for_memory(desk: Desk) -> None:
    desk.stand_in("read -r job", say(Step(text="lowering")), 'echo "allocating" > "$log"', "kill -KILL $$")
    error = desk.error()
    assert isinstance(error, ExportError)
    assert error.what == "the process that exports net was killed by SIGKILL"
    assert error.where == FP32.id
    assert error.seen == "allocating"
    assert "memory ran out" in error.next_step
    assert desk.emitted == ["lowering"]


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
    desk.stand_in("read -r job", say(Step(text="tracing")), "exec sleep 1000")
    started = threading.Event()
    errors: list[EdgedeployError] = []

    def work() -> None:
        try:
            desk.workers.run(desk.job(), log=desk.log, emit=lambda _text: started.set())
        except EdgedeployError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(30)
    desk.workers.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [ExportError]
    assert "stopped" in desk.error().what


@pytest.mark.parametrize("lines", [["exec 0<&-", "exit 3"], ["read -r job", 'printf \'{"type":"do\'', "exit 3"]])
def test_a_worker_that_dies_before_or_in_the_middle_of_speaking(desk: Desk, lines: list[str]) -> None:
    desk.stand_in(*lines)
    for _ in range(20):
        assert "ended with code 3" in desk.error().what
