from __future__ import annotations

import random
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.stats.blocks import block

from edgedeploy.stats.turns import level, quantile_8, samples_needed


@given(st.lists(st.integers(1, 10**9), min_size=1), st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_the_quantile_is_numpys_median_unbiased_one(samples: list[int], q: float) -> None:
    assert quantile_8(sorted(samples), q) == pytest.approx(np.quantile(samples, q, method="median_unbiased"))


@pytest.mark.parametrize(("q", "needed"), [(0.5, 1), (0.9, 7), (0.99, 67), (0.1, 7)])
def test_samples_needed_is_where_the_quantile_leaves_the_ends(q: float, needed: int) -> None:
    assert samples_needed(q) == needed
    assert 1 - 1e-9 <= q * (needed + 1 / 3) + 1 / 3 <= needed + 1e-9


def test_what_the_device_does_to_both_sides_alike_falls_out() -> None:
    # The device is three times slower in the second pair, seven times in the third.
    seen = level(
        block(
            ("base", [100, 101, 99]),
            ("candidate", [110, 111, 109]),
            ("candidate", [330, 333, 327]),
            ("base", [300, 303, 297]),
            ("base", [700, 707, 693]),
            ("candidate", [770, 777, 763]),
        )
    )
    assert seen.log_ratio(0.5) == pytest.approx(log(1.1))
    assert seen.log_ratio_of_means == pytest.approx(log(1.1))
    assert [round(one - seen.log_levels[0], 6) for one in seen.log_levels] == [0.0, round(log(3), 6), round(log(7), 6)]


def test_one_pair_that_a_neighbour_fell_into_does_not_matter() -> None:
    calm = [("base", [100, 102, 101]), ("candidate", [105, 107, 106])]
    seen = level(block(*calm, *calm, ("base", [101] * 3), ("candidate", [400] * 3), *calm, *calm))
    assert seen.log_ratio(0.5) == pytest.approx(log(106 / 101), abs=0.01)


def test_the_second_of_a_pair_may_be_slower_when_sides_begin_alike() -> None:
    rng = random.Random(3)
    turns = []
    for number in range(10):
        first, second = ("base", "candidate") if number % 2 else ("candidate", "base")
        turns += [(first, [rng.randint(990, 1010) for _ in range(20)]), (second, [rng.randint(1090, 1110) for _ in range(20)])]
    assert level(block(*turns)).log_ratio(0.5) == pytest.approx(0, abs=0.005)


def test_only_neighbours_are_paired_and_none_twice() -> None:
    seen = level(block(("base", [1] * 3), ("base", [100]), ("candidate", [100]), ("base", [5] * 4)))
    assert (len(seen.base), len(seen.candidate), len(seen.log_levels)) == (1, 1, 1)
    assert level(block(("base", [100]), ("candidate", []), ("candidate", [100]))).log_levels


def test_one_side_alone_gives_nothing() -> None:
    seen = level(block(("base", [100]), ("base", [100])))
    assert (seen.base, seen.candidate, seen.log_levels) == ((), (), ())


def test_a_clock_that_goes_back_is_refused() -> None:
    fine = block(("base", [100]), ("candidate", [100]))
    with pytest.raises(ValueError, match="clock went back"):
        level(type(fine)(turns=fine.turns[::-1], base=fine.base, candidate=fine.candidate))


@pytest.mark.parametrize("wrong", [0, -5, float("nan")])
def test_a_latency_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="latency of"):
        level(block(("base", [100]), ("candidate", [wrong, 100])))
