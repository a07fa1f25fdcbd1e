from __future__ import annotations

import random

import pytest

from edgedeploy.stats.steady import WINDOW_ITERATIONS, WINDOWS, steady

MS = 1_000_000


def noisy(levels: list[float], *, base_ns: int, spread: float, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [max(1, round(base_ns * level * rng.gauss(1, spread))) for level in levels]


@pytest.mark.parametrize("spread", [0.0, 0.005, 0.05, 0.2])
@pytest.mark.parametrize("base_ns", [200_000, 3 * MS, 50 * MS])
def test_steady_from_the_start_is_seen_soon(base_ns: int, spread: float) -> None:
    seen = steady(noisy([1.0] * 20_000, base_ns=base_ns, spread=spread))
    assert seen is not None
    assert seen.known * base_ns <= max(1500 * MS, 80 * base_ns)


def test_a_governor_that_wakes_up_late_is_waited_for() -> None:
    # Half the clock for the first 200 ms.
    seen = steady(noisy([2.0] * 33 + [1.0] * 1000, base_ns=3 * MS, spread=0.01))
    assert seen is not None
    assert seen.since >= 33


def test_a_slow_approach_is_waited_for() -> None:
    levels = [1 + 0.5 * 0.97**index for index in range(2000)]
    seen = steady(noisy(levels, base_ns=3 * MS, spread=0.005))
    assert seen is not None
    assert levels[seen.known] < 1.01


def test_an_outlier_in_every_window_is_no_warm_up() -> None:
    levels = [1.0 + 5.0 * (index % 8 == 7) for index in range(200)]
    assert steady(noisy(levels, base_ns=13 * MS, spread=0.0)) is not None


def test_what_gets_slower_all_the_time_is_never_steady() -> None:
    assert steady([round(20 * MS * 1.01**index) for index in range(200)]) is None


def test_it_needs_three_windows() -> None:
    fewest = WINDOWS * WINDOW_ITERATIONS
    assert steady([100 * MS] * (fewest - 1)) is None
    seen = steady([100 * MS] * fewest)
    assert seen is not None
    assert (seen.since, seen.known) == (0, fewest)
    assert steady([]) is None


def test_a_latency_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="latency"):
        steady([5, 0])
