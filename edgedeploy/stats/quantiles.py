"""Statistics of latency samples. Pure; integers in nanoseconds in, integers or ratios out."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt
from statistics import NormalDist

from edgedeploy.stats.student import t_interval


def quantile(samples: Sequence[int], q: float) -> int:
    """The nearest-rank quantile: the smallest sample with at least ``q`` of all samples at or below it.

    Always one of the samples (Hyndman & Fan 1996, definition 1; ``numpy.quantile(method="inverted_cdf")``), so a p99 that is
    reported is a latency that was seen.

    Raises:
        ValueError: no samples, or ``q`` outside 0..1.
    """
    if not samples or not 0.0 <= q <= 1.0:
        raise ValueError(f"quantile {q} of {len(samples)} samples")
    ordered = sorted(samples)
    rank = -(-q * len(ordered) // 1)  # ceiling
    return ordered[max(int(rank), 1) - 1]


def quantile_interval(groups: Sequence[Sequence[int]], q: float = 0.5, *, confidence: float = 0.95) -> tuple[int, int]:
    """A confidence interval of a quantile over processes, in the samples' unit; rounded outwards.

    Iterations inside one process are not independent, processes are: of several, it is Student's interval of the mean of their
    quantiles. (A bootstrap over so few is too short: simulated, it covers 75 % with three processes where it says 95 %.)
    Of one process there is only its own spread: the interval between two of its samples that has the quantile with that
    confidence (order statistics: Conover 1999, §3.2), which says nothing about another process.

    Raises:
        ValueError: no samples.
    """
    groups = [group for group in groups if group]
    tail = (1.0 - confidence) / 2.0
    if len(groups) != 1:
        mean, half = t_interval([quantile(group, q) for group in groups], tail)
        return max(0, floor(mean - half)), ceil(mean + half)
    ordered = sorted(groups[0])
    count = len(ordered)
    reach = NormalDist().inv_cdf(1.0 - tail) * sqrt(count * q * (1.0 - q))
    return ordered[max(0, ceil(count * q - reach) - 1)], ordered[min(count - 1, ceil(count * q + reach))]
