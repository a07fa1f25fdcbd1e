"""Whose turn it is."""

from __future__ import annotations

import random

from edgedeploy.domain.comparison import Side


def schedule(pairs: int, *, seed: int) -> tuple[Side, ...]:
    """Pairs of turns in random order, as many that the base begins as the candidate does, give or take one.

    Random, so that nothing periodic on the device can favour a side; balanced, so that whatever the second of a pair suffers
    from the first is suffered by both sides alike.

    Raises:
        ValueError: no pairs.
    """
    if pairs < 1:
        raise ValueError(f"a schedule of {pairs} pairs")
    rng = random.Random(seed)  # noqa: S311 - an experiment's plan, not secrets
    base_first = [index % 2 == 0 for index in range(pairs)]
    if pairs % 2 and rng.random() < 0.5:  # noqa: PLR2004
        base_first = [not first for first in base_first]
    rng.shuffle(base_first)
    turns: list[Side] = []
    for first in base_first:
        turns += ("base", "candidate") if first else ("candidate", "base")
    return tuple(turns)
