"""Student's t distribution for whole degrees of freedom, without SciPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import cos, pi, sin, sqrt, tan
from statistics import fmean, stdev

_HALVINGS = 60  # of an angle below π/2: to the last digit of a double


def t_interval(values: Sequence[float], tail: float) -> tuple[float, float]:
    """Mean and half width of Student's interval of the mean (Student 1908), which misses by ``tail`` on each side.

    Raises:
        ValueError: fewer than two values.
    """
    count = len(values)
    if count < 2:  # noqa: PLR2004
        raise ValueError(f"an interval of {count} values")
    return fmean(values), t_quantile(tail, count - 1) * stdev(values) / sqrt(count)


@lru_cache(maxsize=1024)
def t_quantile(tail: float, degrees: int) -> float:
    """The t that is exceeded with probability ``tail``, by halving the angle arctan(t/√ν).

    Raises:
        ValueError: ``tail`` outside 0..0.5 (both excluded), or no degrees of freedom.
    """
    if not 0.0 < tail < 0.5 or degrees < 1:  # noqa: PLR2004
        raise ValueError(f"t quantile of {tail} with {degrees} degrees of freedom")
    low, high = 0.0, pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _tail_beyond(middle, degrees) > tail:
            low = middle
        else:
            high = middle
    return sqrt(degrees) * tan(low)


def _tail_beyond(angle: float, degrees: int) -> float:
    """P(T > √ν·tan(angle)), by the finite sums of Abramowitz & Stegun 1964, 26.7.3 and 26.7.4."""
    square = cos(angle) ** 2
    if degrees % 2:
        term = cos(angle)
        total = 0.0
        for k in range(3, degrees + 1, 2):
            total += term
            term *= square * (k - 1) / k
        inside = 2 / pi * (angle + sin(angle) * total)
    else:
        term, total = 1.0, 0.0
        for k in range(2, degrees + 1, 2):
            total += term
            term *= square * (k - 1) / k
        inside = sin(angle) * total
    return (1.0 - inside) / 2
