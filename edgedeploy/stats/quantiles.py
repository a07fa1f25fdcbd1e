"""Statistics of latency samples. Pure; integers in nanoseconds in, integers or ratios out."""

from __future__ import annotations

import random
from collections.abc import Sequence


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


def quantile_interval(
    groups: Sequence[Sequence[int]], q: float = 0.5, *, confidence: float = 0.95, resamples: int = 400, seed: int = 1
) -> tuple[int, int]:
    """A bootstrap confidence interval (percentile method, Efron 1979) of a quantile over processes.

    Iterations inside one process are not independent, processes are: whole processes are drawn with replacement, then
    iterations within each (two-stage cluster bootstrap, Davison & Hinkley 1997, §3.8). Deterministic for a given ``seed``.

    Returns:
        The lower and upper end, in the samples' unit.
    """
    rng = random.Random(seed)  # noqa: S311 - resampling, not secrets
    groups = [group for group in groups if group]
    estimates = []
    for _ in range(resamples):
        drawn = rng.choices(groups, k=len(groups))
        estimates.append(quantile([sample for group in drawn for sample in rng.choices(group, k=len(group))], q))
    tail = (1.0 - confidence) / 2.0
    return quantile(estimates, tail), quantile(estimates, 1.0 - tail)
