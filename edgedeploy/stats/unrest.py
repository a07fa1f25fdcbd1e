"""How much the device itself changed during a comparison, for advice; the ratio does not depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from statistics import median

from edgedeploy.domain.comparison import Unrest
from edgedeploy.stats.turns import quantile_8

_NOTABLE = 0.10  # of drift or swing; the fifth part of a neighbour's doing, and more than most phones do when cool


def unrest(log_levels: Sequence[Sequence[float]]) -> Unrest | None:
    """Drift and swing over the blocks' pairs of turns; None for fewer than two blocks.

    The drift is the slope of Theil 1950 and Sen 1968 over the blocks' medians: three blocks in ten may be outliers.
    """
    blocks = [median(levels) for levels in log_levels if levels]
    if len(blocks) < 2:  # noqa: PLR2004
        return None
    slopes = [(blocks[j] - blocks[i]) / (j - i) for j in range(len(blocks)) for i in range(j)]
    every = sorted(one for levels in log_levels for one in levels)
    return Unrest(
        drift=exp(median(slopes) * (len(blocks) - 1)) - 1.0,
        swing=exp(quantile_8(every, 0.9) - quantile_8(every, 0.1)) - 1.0,
    )


def advice(seen: Unrest | None) -> str:
    """What would have made for a narrower interval; empty where the device was calm."""
    if seen is None:
        return ""
    if seen.drift >= _NOTABLE:
        return f"the device became {seen.drift:.0%} slower meanwhile: start cooler"
    if seen.swing >= _NOTABLE:
        return f"the device was at times {seen.swing:.0%} slower meanwhile: stop what else runs on it, or fix its clock"
    return ""
