"""Did a device become slower while it worked for minutes, and when? A rule on the medians of windows.

The first windows (a tenth of the run, a minute at most) say how fast it is when it is fresh. From a moment on it is slower when
the median over a twentieth of the run (five windows at least) is greater than that by so much, there and at every later place:
whoever becomes fast again was not throttled for good. A slow end alone does not count: a tenth of the run has to be slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median, median_low

FEWEST = 30
"""Windows without which there is nothing to tell."""
_FIRST_S = 60.0
_SHARE_FIRST = 0.1
_SHARE_LAST = 0.1
_SHARE_LEVEL = 0.05
_LEAST_LEVEL = 5


def first_and_last(windows: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The median of the first windows' medians, and of as many of the last; windows are pairs of a time in s and a median.

    Raises:
        ValueError: no windows, or a median is not positive.
    """
    if not windows or min(value for _, value in windows) <= 0:
        raise ValueError(f"{len(windows)} windows have no first and no last level")
    count = _first_count([at_s for at_s, _ in windows])
    values = [value for _, value in windows]
    return median(values[:count]), median(values[-count:])


def slower_since(windows: Sequence[tuple[float, int]], slowdown: float) -> float | None:
    """The time of the window from which on latencies are greater than the first by ``slowdown`` (0.1: 10 %), to the end.

    None: there is none, or there are fewer than :data:`FEWEST` windows.

    Raises:
        ValueError: as :func:`first_and_last`, or ``slowdown`` is not positive.
    """
    if not slowdown > 0:
        raise ValueError(f"a slow-down of {slowdown}")
    first, _ = first_and_last(windows)
    if len(windows) < FEWEST:
        return None
    values = [value for _, value in windows]
    width = max(_LEAST_LEVEL, ceil(_SHARE_LEVEL * len(values)))
    # A level is the median of `width` windows: beyond the limit where more than half of them are.
    levels = [median_low(values[at : at + width]) for at in range(len(values) - width + 1)]
    slow = 0  # at the end
    while slow < len(levels) and levels[-1 - slow] > (1.0 + slowdown) * first:
        slow += 1
    since = len(levels) - slow + (width - 1) // 2  # where a step would be that more than half of the windows are behind
    if not slow or len(values) - since < _SHARE_LAST * len(values):
        return None
    return windows[since][0]


def _first_count(at_s: Sequence[float]) -> int:
    """How many windows are the first ones."""
    limit_s = min(_FIRST_S, _SHARE_FIRST * (at_s[-1] - at_s[0]))
    return max(1, sum(at - at_s[0] < limit_s for at in at_s))
