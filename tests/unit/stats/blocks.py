"""Blocks for tests."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgedeploy.domain.comparison import Block, Side, SideFigures, Turn

FIGURES = SideFigures(load_ns=10_000_000, peak_rss_bytes=50_000_000)


def turns(*given: tuple[Side, Sequence[int]]) -> tuple[Turn, ...]:
    return tuple(
        Turn(side=side, start_ns=number * 1_000_000, latency_ns=tuple(latency)) for number, (side, latency) in enumerate(given)
    )


def block(*given: tuple[Side, Sequence[int]], base: SideFigures = FIGURES, candidate: SideFigures = FIGURES) -> Block:
    return Block(turns=turns(*given), base=base, candidate=candidate)


def pair_of(base_ns: int, candidate_ns: int) -> Block:
    return block(("base", [base_ns] * 5), ("candidate", [candidate_ns] * 5))


def exchanged(given: Block) -> Block:
    """Each side called by the other's name."""
    other: dict[Side, Side] = {"base": "candidate", "candidate": "base"}
    renamed = tuple(msgspec.structs.replace(turn, side=other[turn.side]) for turn in given.turns)
    return Block(turns=renamed, base=given.candidate, candidate=given.base)
