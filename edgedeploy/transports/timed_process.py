"""A program of this machine, run to its end or killed with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

import msgspec

_DRAIN_SECONDS = 2.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A process that ended. ``exit_code`` is 128+n for one that signal n killed, as a shell has it."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class ProcessTimeoutError(Exception):
    """The time limit passed; the process and its group are dead. Internal: callers turn it into a device's error."""

    def __init__(self, stdout: bytes, stderr: bytes) -> None:
        super().__init__("time limit passed")
        self.stdout = stdout
        self.stderr = stderr


Started = Callable[[subprocess.Popen[bytes]], None]
Aborted = Callable[[bytes], None]


def unwatched(_process: subprocess.Popen[bytes]) -> None:
    """Take no interest in a process."""


def _unheard(_stderr: bytes) -> None:
    pass


def run_process(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    started: Started = unwatched,
    aborted: Aborted = _unheard,
) -> Ended:
    """Run ``argv`` in a session of its own and wait.

    ``started`` gets the process as soon as there is one; ``aborted`` what it had said on stderr when Ctrl-C ended it.

    Raises:
        ProcessTimeoutError: it did not end within ``timeout_s``.
        OSError: it could not be started.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        started(process)
        stdout, stderr = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise ProcessTimeoutError(*_what_was_said(process)) from None
    except BaseException:  # Ctrl-C does not reach another session: nobody else would end the program
        kill_group(process)
        _, stderr = _what_was_said(process)
        aborted(stderr)
        raise
    code = process.returncode
    return Ended(exit_code=code if code >= 0 else 128 - code, stdout=stdout, stderr=stderr)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process started with ``start_new_session`` and everything in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _what_was_said(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=_DRAIN_SECONDS)
    except subprocess.TimeoutExpired as exc:  # a grandchild left the group and holds the pipes
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return exc.stdout or b"", exc.stderr or b""
