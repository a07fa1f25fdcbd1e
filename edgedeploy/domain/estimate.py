"""A figure that was measured several times."""

from __future__ import annotations

import msgspec


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of repetitions, its standard error, and the interval that has the true mean in 95 of 100 cases."""

    mean: float
    standard_error: float
    ci_low: float
    ci_high: float
    repetitions: int
