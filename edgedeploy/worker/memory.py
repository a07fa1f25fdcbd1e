"""The high-water mark of this process's memory, per lane where the kernel lets one start it anew."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

_RESET_PEAK = "5"  # proc(5), /proc/pid/clear_refs: "reset the peak resident set size"


def reset_peak_rss() -> None:
    """Begin a new high-water mark. Only Linux can; elsewhere the next lane's mark includes those before it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def rss_bytes() -> int:
    """What this process has in memory now; where only the high-water mark is to be had, that."""
    return _status_bytes("VmRSS") or peak_rss_bytes()


def peak_rss_bytes() -> int:
    """The high-water mark since :func:`reset_peak_rss`."""
    if marked := _status_bytes("VmHWM"):
        return marked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(name: str) -> int:
    """A figure of ``/proc/self/status``; 0 where there is none."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
