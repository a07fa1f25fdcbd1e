"""Is the candidate slower than the base by more than is tolerated?

The log-ratio of each block is one observation; Student's interval over them is looked at after every block. Each look misses
by 0.0007 on either side, so that all of them up to the 100th block together do by less than 0.01 (a constant nominal level:
Pocock 1977; for Student's t Jennison & Turnbull 2000, §4.4). Why no bootstrap: docs/measuring.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, log1p, sqrt
from statistics import fmean, stdev

import msgspec

from edgedeploy.domain.comparison import Block, Comparison, Conclusion, Figure
from edgedeploy.stats.figures import QUANTILES, BlockRatios, block_ratios
from edgedeploy.stats.student import t_interval, t_quantile
from edgedeploy.stats.unrest import advice, unrest

TOLERANCE = 0.02
LEAST_BLOCKS = 5  # of blocks that a neighbour, on or off, falls between, a quarter agree on who is slower: 0.1 % of five do
MOST_BLOCKS = 100
CONFIDENCE = 0.98  # of all looks together
_NO_CLOCK_IS_THAT_EVEN = 1e-9
_LARGEST_LOG = 700.0
TAIL_PER_LOOK = 0.0007  # simulated: 0.92 % over the looks from LEAST_BLOCKS to MOST_BLOCKS


def compare(blocks: Sequence[Block], figure: Figure, *, tolerance: float = TOLERANCE, together: int = 1) -> Comparison:
    """Compare both sides in one figure; to be called after every block, and stopped when it is no longer inconclusive.

    ``pass`` when the whole interval is below ``1 + tolerance``, ``fail`` when it is above (see :func:`conclude`). Exchanging
    the sides gives the reciprocal ratio and interval. Of figures that are judged ``together`` each gets its share of the
    error, so that one false alarm among all of them stays as rare (Bonferroni: Dunn 1961).

    Raises:
        ValueError: a latency, a load time or a size is not positive, the clock went back, the tolerance is no number from 0,
            or more blocks than the looks are made for.
    """
    if len(blocks) > MOST_BLOCKS:
        raise ValueError(f"{len(blocks)} blocks, and at most {MOST_BLOCKS} can be looked at one by one")
    return judge(block_ratios(blocks, figure), tolerance=tolerance, together=together)


def judge(found: BlockRatios, *, tolerance: float = TOLERANCE, together: int = 1) -> Comparison:
    """The same, of log-ratios that are there already.

    Raises:
        ValueError: the tolerance is no number from 0.
    """
    if not (isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"a tolerance of {tolerance}")
    count = len(found.log_ratios)
    blank = Comparison(
        figure=found.figure,
        verdict="inconclusive",
        tolerance=tolerance,
        ratio=None,
        ci_low=None,
        ci_high=None,
        confidence=CONFIDENCE,
        blocks=count,
        samples=found.samples,
        reasons=(f"{found.too_short} of {count + found.too_short} blocks had too few samples for {found.figure}",)
        if found.too_short
        else (),
        unrest=unrest(found.log_levels),
    )
    if count < 2:  # noqa: PLR2004
        return _because(blank, f"{count} blocks: there is nothing to compare", LEAST_BLOCKS - count)
    tail = TAIL_PER_LOOK / together
    mean, half = t_interval(found.log_ratios, tail)
    seen = msgspec.structs.replace(blank, ratio=_ratio(mean), ci_low=_ratio(mean - half), ci_high=_ratio(mean + half))
    if count < LEAST_BLOCKS:
        return _because(seen, f"{count} blocks are too few to judge", LEAST_BLOCKS - count)
    if found.figure in QUANTILES and max(found.log_ratios) - min(found.log_ratios) < _NO_CLOCK_IS_THAT_EVEN:
        return _because(seen, "every block gave exactly the same ratio: the clock is too coarse for this model", None)
    verdict = conclude(mean, half, log1p(tolerance))
    return _unsettled(seen, found, tail) if verdict == "inconclusive" else msgspec.structs.replace(seen, verdict=verdict)


def conclude(mean: float, half: float, bound: float) -> Conclusion:
    """What an interval of log-ratios says about a bound that is not negative.

    To be below the bound is not enough while the interval is wider than the bound to either side: sampling would stop at the
    lucky estimates, which are those below 1. A candidate that is plainly faster does not have to wait for that.
    """
    if mean - half > bound:
        return "fail"
    if mean + half < 0 or (mean + half < bound and half <= bound):
        return "pass"
    return "inconclusive"


def blocks_to_settle(log_ratios: Sequence[float], bound: float, tail: float = TAIL_PER_LOOK) -> int | None:
    """How many blocks in all would settle it, if the others are like those seen; None for more than :data:`MOST_BLOCKS`."""
    mean, deviation = fmean(log_ratios), stdev(log_ratios)
    for blocks in range(len(log_ratios) + 1, MOST_BLOCKS + 1):
        half = t_quantile(tail, blocks - 1) * deviation / sqrt(blocks)
        if conclude(mean, half, bound) != "inconclusive":
            return blocks
    return None


def _unsettled(seen: Comparison, found: BlockRatios, tail: float) -> Comparison:
    interval = f"{seen.interval} does not settle {1 + seen.tolerance:g}"
    bound = log1p(seen.tolerance)
    needed = blocks_to_settle(found.log_ratios, bound, tail)
    more = None if needed is None else needed - seen.blocks
    hint = advice(seen.unrest)
    if more is not None:
        hint = f"about {more} more block{'s' if more > 1 else ''}" + (f"; {hint}" if hint else "")
    elif not hint and abs(fmean(found.log_ratios) - bound) < bound / 4:
        hint = "the ratio is too close to what is tolerated"
    elif not hint:
        hint = f"blocks differ too much for {MOST_BLOCKS} of them: longer turns, or a calmer device"
    return _because(seen, f"{interval}: {hint}", more)


def _ratio(log_ratio: float) -> float:
    """Of two blocks Student's interval is hundreds of times as wide as they are apart: no double may have its end."""
    return exp(max(-_LARGEST_LOG, min(log_ratio, _LARGEST_LOG)))


def _because(comparison: Comparison, reason: str, more_blocks: int | None) -> Comparison:
    return msgspec.structs.replace(comparison, reasons=(*comparison.reasons, reason), more_blocks=more_blocks)
