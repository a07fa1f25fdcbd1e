"""How busy a device is over one second: the average of a minute still remembers a push that is over."""

from __future__ import annotations

from edgedeploy.probes.kernel_files import busy_ticks, number

TICKS_PER_S = 100
"""USER_HZ, which is 100 on every architecture that edgedeploy knows (proc_stat(5))."""

_LOOK = 'read -r at rest </proc/uptime && read -r all </proc/stat && echo "$at $all"'
LOAD_SCRIPT = f"{{ {_LOOK}; sleep 1; {_LOOK}; }} 2>/dev/null </dev/null\nexit 0\n"
"""Prints two lines, a second apart; nothing where there is no /proc, or it may not be read."""


def parse_load(output: str) -> float | None:
    """How many processors were at work between the two lines that :data:`LOAD_SCRIPT` prints. Never raises."""
    seen = [(number(at), busy_ticks(rest)) for at, _, rest in (row.partition(" ") for row in output.splitlines())]
    if len(seen) != 2:  # noqa: PLR2004
        return None
    return processors(*seen)


def processors(before: tuple[float | None, int | None], now: tuple[float | None, int | None]) -> float | None:
    """Processors at work between two pairs of a time in seconds and a count of ticks; None where one of them is not known."""
    (began_s, earlier), (ended_s, later) = before, now
    if began_s is None or ended_s is None or earlier is None or later is None or ended_s <= began_s or later < earlier:
        return None
    return round((later - earlier) / TICKS_PER_S / (ended_s - began_s), 2)
