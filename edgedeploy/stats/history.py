"""Did a series of results step, or drift? Only good for a warning: what one gate has to decide is decided by a comparison.

The last forty results are cut in two wherever their ranks differ most (Wilcoxon's rank sum, Mann & Whitney 1947, at every place
that leaves four on either side; Pettitt 1979 is the same idea), and looked through for a trend (Mann 1945, Kendall 1975). Ranks
do not care how a device's noise is distributed, so outliers and two-humped series raise no alarm. At 3.5 standard deviations
there is less than one new alarm in 1,000 results in series as noisy as a public phone lab's (coefficient of variation 4.6 % in
the median, 38.8 % at worst); "5 % above the median of the last five" has one in eight. See docs/measuring.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, log, sqrt
from statistics import median
from typing import Literal

import msgspec

WINDOW = 40
LEAST_ON_A_SIDE = 4
LEAST_CHANGE = 0.03
DEVIATIONS = 3.5


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A series that went from one level to another, at once before the value ``at`` (``step``), or little by little from it on.

    ``before`` and ``after`` are medians around a step, or the two ends of the trend.
    """

    kind: Literal["step", "drift"]
    at: int
    before: float
    after: float

    @property
    def relative(self) -> float:
        """0.1 for 10 % more than before."""
        return self.after / self.before - 1.0


def change(values: Sequence[float]) -> Change | None:
    """The step or drift in the last forty values, oldest first; None for noise, or for fewer than eight.

    Give values of one environment only, and after a change that is meant, those that came since.

    Raises:
        ValueError: a value is not positive and finite.
    """
    if not all(isfinite(value) and value > 0 for value in values):
        raise ValueError("a series has values that are not positive")
    first = max(0, len(values) - WINDOW)
    recent = [log(value) for value in values[first:]]
    if len(recent) < 2 * LEAST_ON_A_SIDE:
        return None
    split, split_deviations = _best_split(recent)
    slope, slope_deviations = _trend(recent)
    if max(split_deviations, slope_deviations) < DEVIATIONS:
        return None
    before, after = median(recent[:split]), median(recent[split:])
    start = median(one - slope * index for index, one in enumerate(recent))
    off_levels = sum(abs(one - (before if index < split else after)) for index, one in enumerate(recent))
    off_line = sum(abs(one - start - slope * index) for index, one in enumerate(recent))
    if off_levels <= off_line:
        found = Change(kind="step", at=first + split, before=exp(before), after=exp(after))
    else:
        end = start + slope * (len(recent) - 1)
        found = Change(kind="drift", at=first, before=exp(start), after=exp(end))
    return found if abs(found.relative) >= LEAST_CHANGE else None


def _best_split(values: Sequence[float]) -> tuple[int, float]:
    """Where the ranks before and after differ most, and by how many standard deviations of the rank sum."""
    count = len(values)
    ranks = _ranks(values)
    best = (LEAST_ON_A_SIDE, 0.0)
    for split in range(LEAST_ON_A_SIDE, count - LEAST_ON_A_SIDE + 1):
        expected = split * (count + 1) / 2
        deviation = sqrt(split * (count - split) * (count + 1) / 12)
        deviations = abs(sum(ranks[:split]) - expected) / deviation
        if deviations > best[1]:
            best = (split, deviations)
    return best


def _trend(values: Sequence[float]) -> tuple[float, float]:
    """The slope of Theil 1950 and Sen 1968, and by how many standard deviations Kendall's sum of signs is off zero."""
    count = len(values)
    rises = [(values[j] - values[i], j - i) for j in range(count) for i in range(j)]
    signs = sum((rise > 0) - (rise < 0) for rise, _ in rises)
    deviation = sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return median(rise / steps for rise, steps in rises), abs(signs) / deviation


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1; equal values share the mean of their ranks."""
    ordered = sorted(values)
    first = {value: index for index, value in reversed(list(enumerate(ordered)))}
    last = {value: index for index, value in enumerate(ordered)}
    return [(first[value] + last[value]) / 2 + 1 for value in values]
