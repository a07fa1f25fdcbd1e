"""A program of this machine, run to its end or killed with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

_DRAIN_SECONDS = 2.0
_LOOK_S = 0.2
NO_LIMIT_S = 10.0 * 365 * 86400
"""For what is bounded otherwise: communicate() takes no infinity."""


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
Watch = Callable[[], None]


def unwatched(_process: subprocess.Popen[bytes]) -> None:
    """Take no interest in a process."""


def _unheard(_stderr: bytes) -> None:
    pass


def run_process(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes | int = b"",
    stdout: int = subprocess.PIPE,
    started: Started = unwatched,
    aborted: Aborted = _unheard,
    watch: Watch | None = None,
) -> Ended:
    """Run ``argv`` in a session of its own and wait.

    ``stdin`` is what it reads, or the descriptor of a file that it reads. ``started`` gets the process as soon as there is
    one; ``watch`` is called a few times per second while it runs, and what it raises ends the process; ``aborted`` gets what
    the process had said on stderr when Ctrl-C ended it.

    Raises:
        ProcessTimeoutError: it did not end within ``timeout_s``.
        OSError: it could not be started.
    """
    with _readable(stdin) as source:
        process = subprocess.Popen(list(argv), stdin=source, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
    try:
        started(process)
        said, stderr = _communicate(process, timeout_s, watch)
    except (subprocess.TimeoutExpired, ProcessTimeoutError):
        kill_group(process)
        raise ProcessTimeoutError(*_what_was_said(process)) from None
    except BaseException as failure:  # Ctrl-C does not reach another session: nobody else would end the program
        kill_group(process)
        _, stderr = _what_was_said(process)
        if not isinstance(failure, Exception):  # what the watch raises it has told itself
            aborted(stderr)
        raise
    code = process.returncode
    return Ended(exit_code=code if code >= 0 else 128 - code, stdout=said or b"", stderr=stderr)


@contextlib.contextmanager
def _readable(stdin: bytes | int) -> Iterator[int]:
    """A descriptor with that to read. Not a pipe: communicate() forgets what it was to write once it was interrupted."""
    if isinstance(stdin, int):
        yield stdin
    elif not stdin:
        yield subprocess.DEVNULL
    else:
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            yield file.fileno()


def _communicate(process: subprocess.Popen[bytes], timeout_s: float, watch: Watch | None) -> tuple[bytes, bytes]:
    until = time.monotonic() + timeout_s
    while True:
        left_s = until - time.monotonic()
        step_s = left_s if watch is None else min(left_s, _LOOK_S)
        try:
            return process.communicate(timeout=max(0.0, step_s))
        except subprocess.TimeoutExpired:
            if watch is None or left_s <= _LOOK_S:
                raise
            watch()


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
