"""The figures in which two sides are compared: one log-ratio per block."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import msgspec

from edgedeploy.domain.comparison import Block, Figure
from edgedeploy.stats.turns import level, samples_needed

QUANTILES: dict[Figure, float] = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99, "latency_mean": 0.5, "ttft": 0.5}


class BlockRatios(msgspec.Struct, frozen=True, kw_only=True):
    """The log-ratio of candidate to base in every block that has one; how many latencies (or processes) they are made from.

    ``log_levels`` has, for every pair of turns of every block, how fast the device was; it is empty where turns play no part.
    ``too_short`` counts blocks with too few samples for the figure.
    """

    figure: Figure
    log_ratios: tuple[float, ...]
    samples: int
    log_levels: tuple[tuple[float, ...], ...] = ()
    too_short: int = 0


def block_ratios(blocks: Sequence[Block], figure: Figure) -> BlockRatios:
    """One figure over all blocks; those with too few samples for it are left out.

    Raises:
        ValueError: a latency, a load time or a size is not positive, or the clock went back.
    """
    if figure == "load":
        return _whole(figure, [(block.base.load_ns, block.candidate.load_ns) for block in blocks])
    if figure == "peak_rss":
        return _whole(figure, [(block.base.peak_rss_bytes, block.candidate.peak_rss_bytes) for block in blocks])
    if figure == "ttft":
        blocks = [_first_tokens(block) for block in blocks]
    q = QUANTILES[figure]
    found = [one for block in blocks if min(map(len, ((one := level(block)).base, one.candidate))) >= samples_needed(q)]
    return BlockRatios(
        figure=figure,
        log_ratios=tuple(one.log_ratio_of_means if figure == "latency_mean" else one.log_ratio(q) for one in found),
        samples=sum(len(one.base) + len(one.candidate) for one in found),
        log_levels=tuple(one.log_levels for one in found),
        too_short=len(blocks) - len(found),
    )


def _first_tokens(block: Block) -> Block:
    """The same turns, each with the one time that its first token took."""
    turns = [(turn, turn.ttft_ns) for turn in block.turns if turn.ttft_ns is not None]
    return msgspec.structs.replace(block, turns=tuple(msgspec.structs.replace(turn, latency_ns=(ns,)) for turn, ns in turns))


def _whole(figure: Figure, values: Sequence[tuple[int, int]]) -> BlockRatios:
    for base, candidate in values:
        if not (base > 0 and candidate > 0):
            raise ValueError(f"{figure} of {base} and {candidate}")
    ratios = tuple(log(candidate) - log(base) for base, candidate in values)
    return BlockRatios(figure=figure, log_ratios=ratios, samples=2 * len(ratios))
