"""Between what will the next result of a series be? Only good for a warning, as ``history`` is.

Student's prediction interval of the logarithms (Hahn & Meeker 1991, §4.7): one result in a thousand of normal noise is outside of
it. It is never narrower than 3 % to either side. See docs/measuring.md for how often it is wrong with other noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, log, sqrt
from statistics import fmean, stdev

from edgedeploy.stats.history import LEAST_CHANGE, LEAST_ON_A_SIDE, WINDOW
from edgedeploy.stats.student import t_quantile

LEAST_RESULTS = 2 * LEAST_ON_A_SIDE
_TAIL = 0.0005


def expected(values: Sequence[float]) -> tuple[float, float] | None:
    """The bounds of the next value, from the last forty; None for fewer than eight.

    Raises:
        ValueError: a value is not positive and finite.
    """
    if not all(isfinite(value) and value > 0 for value in values):
        raise ValueError("a series has values that are not positive")
    recent = [log(value) for value in values[-WINDOW:]]
    count = len(recent)
    if count < LEAST_RESULTS:
        return None
    half_width = max(t_quantile(_TAIL, count - 1) * stdev(recent) * sqrt(1 + 1 / count), log(1 + LEAST_CHANGE))
    return exp(fmean(recent) - half_width), exp(fmean(recent) + half_width)
