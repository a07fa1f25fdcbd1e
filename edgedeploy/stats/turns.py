"""What a block's turns say about both sides, once the device's own ups and downs are taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, exp, log
from statistics import median

import msgspec

from edgedeploy.domain.comparison import Block, Turn


class Levelled(msgspec.Struct, frozen=True, kw_only=True):
    """A block's latencies, each as a share of how fast the device was at that moment; sorted.

    How fast it was is told by two neighbouring turns, one of each side: the geometric mean of their medians. So drift, steps
    and neighbours fall out of both sides alike, and the ratio of the sides stays. ``log_levels`` has one entry per pair.
    """

    base: tuple[float, ...]
    candidate: tuple[float, ...]
    log_levels: tuple[float, ...]

    def log_ratio(self, q: float) -> float:
        """Candidate to base, of a quantile."""
        return log(quantile_8(self.candidate, q)) - log(quantile_8(self.base, q))

    @property
    def log_ratio_of_means(self) -> float:
        """Candidate to base, of the mean: of the time that a token takes, whose reciprocal is tokens per second."""
        return log(sum(self.candidate) / len(self.candidate)) - log(sum(self.base) / len(self.base))


def level(block: Block) -> Levelled:
    """Take the device's ups and downs out of a block; see :class:`Levelled`.

    A turn without a neighbour of the other side is left out, so both sides are empty when there is no pair.

    Raises:
        ValueError: a latency is not positive, or the clock went back.
    """
    sides: dict[str, list[float]] = {"base": [], "candidate": []}
    log_levels = []
    for turns in _neighbours(block):
        log_level = sum(log(median(turn.latency_ns)) for turn in turns) / 2
        speed = exp(log_level)
        log_levels.append(log_level)
        for turn in turns:
            sides[turn.side] += [ns / speed for ns in turn.latency_ns]
    return Levelled(base=tuple(sorted(sides["base"])), candidate=tuple(sorted(sides["candidate"])), log_levels=tuple(log_levels))


def samples_needed(q: float) -> int:
    """How many samples it takes for :func:`quantile_8` not to end at the largest: 1 for the median, 7 for p90, 67 for p99."""
    tail = min(q, 1 - q)
    return ceil((2 - tail) / (3 * tail) - 1e-9)


def quantile_8(ordered: Sequence[float], q: float) -> float:
    """The quantile of sorted samples by definition 8 of Hyndman & Fan 1996, nearly median-unbiased for any distribution.

    A rank would be biased here: of 9 samples p90 is the largest, of 10 the second, and the faster side has more.
    ``numpy.quantile(method="median_unbiased")``.
    """
    count = len(ordered)
    place = min(max(q * (count + 1 / 3) + 1 / 3, 1.0), float(count))
    below = int(place)
    above = min(below + 1, count)
    return ordered[below - 1] + (place - below) * (ordered[above - 1] - ordered[below - 1])


def _neighbours(block: Block) -> Iterator[tuple[Turn, Turn]]:
    """Turns of different sides that came one right after the other; none of them twice."""
    waiting: Turn | None = None
    clock_ns = 0
    for turn in block.turns:
        if turn.start_ns < clock_ns:
            raise ValueError(f"a turn began at {turn.start_ns} ns, after one at {clock_ns} ns: the clock went back")
        clock_ns = turn.start_ns
        if not turn.latency_ns:
            continue
        if not min(turn.latency_ns) > 0:
            raise ValueError(f"a latency of {min(turn.latency_ns)} ns")
        if waiting is None or waiting.side == turn.side:
            waiting = turn
        else:
            yield waiting, turn
            waiting = None
