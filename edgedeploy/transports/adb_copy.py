"""``adb push`` and ``adb pull``, watched through the percentages that adb paints for people."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Sequence

from edgedeploy.transports.timed_process import Ended, ProcessTimeoutError, Started, kill_group, unwatched

_READ_BYTES = 1 << 16
_ROWS, _COLUMNS = 24, 16_384  # so wide that adb never shortens a path in the middle
_PERCENT = re.compile(rb"\[ *(\d{1,3})%\]")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PROGRESS_LINE = re.compile(r"^\[ *\d{1,3}%\].*$|^.*: \d+ files? (?:pushed|pulled), .*$")


def last_percent(painted: bytes) -> int | None:
    """Return the last percentage in what adb painted, 0 to 100, or None."""
    found = _PERCENT.findall(painted)
    return min(int(found[-1]), 100) if found else None


def complaint(painted: bytes) -> str:
    """Return what adb said besides its progress and its "1 file pushed"."""
    lines = _CONTROL.sub("\n", painted.decode("utf-8", "replace")).replace("\r", "\n").splitlines()
    return "\n".join(line for line in lines if line.strip() and not _PROGRESS_LINE.match(line))


def run_copy(argv: Sequence[str], *, stall_s: float, on_percent: Callable[[int], None], started: Started = unwatched) -> Ended:
    """Run ``adb push`` or ``adb pull`` to its end, however long that takes while it moves; ``stdout`` is all it said.

    Raises:
        ProcessTimeoutError: adb painted nothing for ``stall_s``; it is dead now.
    """
    # adb paints progress on terminals only, so it gets one; newer versions paint on stderr, older ones on stdout.
    screen, painter = os.openpty()
    fcntl.ioctl(painter, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=painter,
            stderr=painter,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
        )
    except BaseException:
        os.close(screen)
        raise
    finally:
        os.close(painter)
    try:
        started(process)
        painted = _watch(screen, stall_s, on_percent)
        code = process.wait(timeout=stall_s)
    except subprocess.TimeoutExpired:
        raise ProcessTimeoutError(b"", b"") from None
    finally:
        if process.poll() is None:
            kill_group(process)
            process.wait()
        os.close(screen)
    return Ended(exit_code=code if code >= 0 else 128 - code, stdout=painted, stderr=b"")


def _watch(screen: int, stall_s: float, on_percent: Callable[[int], None]) -> bytes:
    said = bytearray()
    while True:
        readable, _, _ = select.select([screen], [], [], stall_s)
        if not readable:
            raise ProcessTimeoutError(bytes(said), b"")
        chunk = _read(screen)
        if not chunk:
            return bytes(said)
        percent = last_percent(chunk)
        if percent is None:
            said += chunk
        else:
            said = bytearray(chunk)  # what was painted before is progress; a push of hours must not fill the memory
            on_percent(percent)


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, _READ_BYTES)
    except OSError as exc:
        if exc.errno == errno.EIO:  # how Linux says that the other side of a terminal is closed
            return b""
        raise
