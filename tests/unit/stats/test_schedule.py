from __future__ import annotations

import pytest

from edgedeploy.stats.schedule import schedule


@pytest.mark.parametrize("pairs", [1, 2, 7, 10])
def test_every_pair_has_both_sides_and_each_begins_half_of_them(pairs: int) -> None:
    turns = schedule(pairs, seed=4)
    assert len(turns) == 2 * pairs
    firsts = turns[::2]
    assert all({a, b} == {"base", "candidate"} for a, b in zip(firsts, turns[1::2], strict=True))
    assert abs(firsts.count("base") - firsts.count("candidate")) == pairs % 2


def test_it_is_random_and_a_seed_repeats_it() -> None:
    assert schedule(10, seed=1) == schedule(10, seed=1)
    assert len({schedule(10, seed=seed) for seed in range(20)}) > 10
    assert {schedule(1, seed=seed)[0] for seed in range(20)} == {"base", "candidate"}


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="schedule"):
        schedule(0, seed=1)
