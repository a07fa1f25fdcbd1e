"""Is a process warm? A rule of a few lines, as the runners on the device have to follow it in C.

Latencies fall while caches fill, memory is first touched and the clock's governor wakes up. They are cut into windows of at
least 8 iterations and 100 ms (a governor may take 200 ms to raise the clock). The process is steady when the medians of three
windows in a row all lie in the interquartile range of each of the three, or within 1 % of one another: then they differ by no
more than noise would have it. In the words of Barrett et al. 2017 ("Virtual machine warmup blows hot and cold"), the last
changepoint is behind us; what comes later is nobody's to know, so a limit has to be set by whoever waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

WINDOW_ITERATIONS = 8
WINDOW_NS = 100_000_000
WINDOWS = 3
TOLERANCE = 0.01


class Steady(msgspec.Struct, frozen=True, kw_only=True):
    """Steady from iteration ``since`` on, as was known after iteration ``known`` - 1."""

    since: int
    known: int


def steady(latency_ns: Sequence[int]) -> Steady | None:
    """When a process became steady; None when it has not yet.

    Cost: one sort per window.

    Raises:
        ValueError: a latency is not positive.
    """
    seen: list[tuple[int, int, int, int]] = []
    for first, after in _windows(latency_ns):
        window = sorted(latency_ns[first:after])
        quarter = (len(window) - 1) // 4
        seen.append((first, window[quarter], window[len(window) // 2], window[-1 - quarter]))
        _, lows, medians, highs = zip(*seen[-WINDOWS:], strict=True)
        within_noise = max(lows) <= min(medians) and max(medians) <= min(highs)
        within_tolerance = max(medians) <= (1 + TOLERANCE) * min(medians)
        if len(medians) == WINDOWS and (within_noise or within_tolerance):
            return Steady(since=seen[-WINDOWS][0], known=after)
    return None


def _windows(latency_ns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First iteration of each whole window, and the one after its last."""
    first = spent_ns = 0
    for index, ns in enumerate(latency_ns):
        if not ns > 0:
            raise ValueError(f"a latency of {ns} ns")
        spent_ns += ns
        if index + 1 - first >= WINDOW_ITERATIONS and spent_ns >= WINDOW_NS:
            yield first, index + 1
            first, spent_ns = index + 1, 0
