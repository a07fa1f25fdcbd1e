"""The moment at which a device becomes slower, on runs that are made up; benchmarks/gate/sustained.py has more of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from edgedeploy.stats.sustained import FEWEST, first_and_last, slower_since

Shape = Callable[[float], float]
WINDOWS = 600


def run(shape: Shape, *, noise: float = 0.03, count: int = WINDOWS, seed: int = 0) -> list[tuple[float, int]]:
    """One window per second; ``shape`` is the level at a share of the run."""
    rng = random.Random(seed)
    return [(float(at), round(1e6 * shape(at / count) * math.exp(rng.gauss(0, noise)))) for at in range(count)]


def step(factor: float, share: float) -> Shape:
    return lambda at: factor if at >= share else 1.0


def ramp(factor: float, begins: float, ends: float) -> Shape:
    return lambda at: 1 + (factor - 1) * min(1.0, max(0.0, (at - begins) / (ends - begins)))


def alarms(shape: Shape, *, noise: float = 0.03, count: int = WINDOWS) -> list[float | None]:
    return [slower_since(run(shape, noise=noise, count=count, seed=seed), 0.1) for seed in range(30)]


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("count", [FEWEST, 60, WINDOWS])
def test_a_device_that_stays_as_fast_as_it_was_is_not_called_throttled(noise: float, count: int) -> None:
    assert [found for found in alarms(lambda _: 1.0, noise=noise, count=count) if found is not None] == []


@pytest.mark.parametrize(
    "shape",
    [step(1.05, 0.5), ramp(1.05, 0, 1), lambda at: 1.5 if 0.5 < at < 0.6 else 1.0, step(1.5, 0.95), lambda at: 1.3 * (at % 0.02 > 0.01) or 1.0],
    ids=["by too little", "by too little in the end", "for a while", "only at the very end", "on and off"],
)  # fmt: skip
def test_what_is_no_throttling(shape: Shape) -> None:
    assert set(alarms(shape)) == {None}


@pytest.mark.parametrize("factor", [1.2, 1.5, 3.0])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_the_moment_of_a_step_is_found(factor: float, share: float) -> None:
    for found in alarms(step(factor, share)):
        assert found is not None
        assert abs(found - share * WINDOWS) <= 0.01 * WINDOWS


def test_of_a_ramp_it_is_where_the_limit_is_crossed() -> None:
    for found in alarms(ramp(1.5, 0.2, 0.6)):
        assert found is not None
        assert abs(found / WINDOWS - 0.28) < 0.04


def test_it_counts_from_the_last_time_that_it_was_fast() -> None:
    def again(at: float) -> float:
        return 1.4 if 0.2 < at < 0.4 or at >= 0.7 else 1.0

    for found in alarms(again):
        assert found is not None
        assert abs(found / WINDOWS - 0.7) < 0.01


def test_too_few_windows_say_nothing() -> None:
    assert slower_since(run(step(3.0, 0.5), count=FEWEST - 1), 0.1) is None
    assert first_and_last([(0.0, 5), (1.0, 7)]) == (5, 7)


def test_slow_models_have_windows_with_gaps() -> None:
    # An inference of 3 s in windows of 1 s.
    slow = [(3.0 * at, 3_000_000_000 if at < 100 else 4_000_000_000) for at in range(200)]
    assert slower_since(slow, 0.1) == 300.0


@pytest.mark.parametrize("slowdown", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_refused(slowdown: float) -> None:
    with pytest.raises(ValueError, match="slow-down"):
        slower_since(run(lambda _: 1.0), slowdown)


@pytest.mark.parametrize("windows", [[], [(0.0, 0)], [(0.0, 5), (1.0, -5)]])
def test_times_that_cannot_be_are_refused(windows: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="no first and no last"):
        slower_since(windows, 0.1)
