"""Runs a job in a process of its own, so that an SDK's crash, memory, warnings and side effects stay there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from edgedeploy import errors
from edgedeploy.ports import Emit
from edgedeploy.worker.job import Done, ExportJob, Failed, Message, Step


class Workers:
    """The worker processes that are running. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, job: ExportJob, *, log: Path, emit: Emit) -> Done:
        """Run ``job`` and wait. What the SDKs print goes to ``log``. On any way out the worker is gone.

        Raises:
            EdgedeployError: what the worker reports; ExportError when it dies.
        """
        command = [sys.executable, "-P", "-m", "edgedeploy.worker", str(log)]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        ) as process:
            with self._lock:
                self._running.add(process)
                stopped = self._stopped
            try:
                if stopped:
                    raise errors.ExportError("stopped", where=job.model_name)
                return _converse(process, job, log, emit)
            finally:
                with self._lock:
                    self._running.discard(process)
                _kill(process)
                with suppress(BrokenPipeError):
                    if process.stdin is not None:
                        process.stdin.close()

    def stop(self) -> None:
        """Kill all, and any that would start."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS answers the latter for one that has ended
        os.killpg(process.pid, signal.SIGKILL)


def _converse(process: subprocess.Popen[bytes], job: ExportJob, log: Path, emit: Emit) -> Done:
    # stdin stays open for as long as we live: the worker ends itself when it closes.
    if process.stdin is None or process.stdout is None:
        raise errors.InternalError("a worker without pipes")
    with suppress(BrokenPipeError):
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
    decoder = msgspec.json.Decoder(Message)
    for line in process.stdout:
        try:
            message = decoder.decode(line)
        except msgspec.DecodeError:  # half a line: the worker was killed while it spoke
            break
        match message:
            case Step():
                emit(message.text)
            case Done():
                return message
            case Failed():
                kind: type[errors.EdgedeployError] = getattr(errors, message.kind, errors.InternalError)
                raise kind(message.what, where=message.where, seen=message.seen, next_step=message.next_step)
    raise _death(process.wait(), job, log)


def _death(code: int, job: ExportJob, log: Path) -> errors.ExportError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    tail = log.read_text(errors="replace").strip().splitlines()[-3:] if log.is_file() else []
    advice = "the SDK or the model's own code ended it; try another lane, or the fp32 recipe, to see which step does it"
    if -code == signal.SIGKILL:
        advice = "if nobody killed it, memory ran out: close other programs, give --jobs 1, or export on a larger machine"
    return errors.ExportError(
        f"the process that exports {job.model_name} {how}",
        where=job.lane.id,
        seen=" | ".join(tail)[-400:],
        next_step=advice,
    )
