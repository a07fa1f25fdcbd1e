"""How sure is the mean of repetitions, as of an energy or a power?"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from statistics import fmean, stdev

from edgedeploy.domain.estimate import Estimate
from edgedeploy.stats.student import t_quantile

_TAIL = 0.025


def estimate(values: Sequence[float], *, resolution: float = 0.0) -> Estimate:
    """Mean and uncertainty of independent repetitions.

    The standard error is s/√n (Student 1908), to which the instrument's ``resolution`` adds its variance of resolution²/12
    (GUM, JCGM 100:2008, F.2.2.1). That does not shrink with n: a coarse fuel gauge is no more right for repeating itself.

    Raises:
        ValueError: fewer than two values, one that is not finite, or a resolution below zero.
    """
    if len(values) < 2:  # noqa: PLR2004
        raise ValueError(f"{len(values)} repetitions have no uncertainty")
    if not all(isfinite(value) for value in values):
        raise ValueError(f"one of {list(values)} is not finite")
    if not (isfinite(resolution) and resolution >= 0):
        raise ValueError(f"a resolution of {resolution}")
    mean = fmean(values)
    error = sqrt(stdev(values) ** 2 / len(values) + resolution**2 / 12)
    half = t_quantile(_TAIL, len(values) - 1) * error
    return Estimate(mean=mean, standard_error=error, ci_low=mean - half, ci_high=mean + half, repetitions=len(values))
