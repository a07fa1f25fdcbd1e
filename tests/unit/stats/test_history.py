from __future__ import annotations

import random

import pytest
from scipy import stats

from edgedeploy.stats.history import _best_split, _ranks, _trend, change


def series(*levels: float, spread: float = 0.046, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [level * rng.gauss(1, spread) for level in levels]


def test_a_step_is_placed_and_sized() -> None:
    found = change(series(*[10.0] * 25, *[11.0] * 12, spread=0.02))
    assert found is not None
    assert found.kind == "step"
    assert found.at == 25
    assert found.relative == pytest.approx(0.1, abs=0.02)


def test_a_step_down_is_a_change_too() -> None:
    found = change(series(*[10.0] * 20, *[8.0] * 8))
    assert found is not None
    assert found.relative == pytest.approx(-0.2, abs=0.04)


def test_a_drift_is_told_from_a_step() -> None:
    found = change(series(*[10.0 * 1.005**index for index in range(60)], spread=0.01))
    assert found is not None
    assert (found.kind, found.at) == ("drift", 20)
    assert found.relative == pytest.approx(1.005**39 - 1, abs=0.03)


def test_noise_raises_no_alarm() -> None:
    rng = random.Random(8)
    alarms = looks = usual = 0
    for _ in range(60):
        spread = min(0.046 * rng.lognormvariate(0, 0.75), 0.388)
        values = [rng.lognormvariate(0, spread) * (1.5 if rng.random() < 0.05 else 1.0) for _ in range(40)]
        for end in range(12, 41):
            looks += 1
            alarms += change(values[:end]) is not None
            usual += values[end - 1] > 1.05 * sorted(values[end - 6 : end - 1])[2]
    assert alarms / looks < 0.01
    assert usual / looks > 0.1  # the rule that one would write first


def test_a_few_outliers_are_no_step() -> None:
    values = series(*[10.0] * 30)
    values[-3:] = [90.0, 80.0, 100.0]
    assert change(values) is None


def test_small_steps_are_not_worth_a_word() -> None:
    assert change(series(*[10.0] * 20, *[10.2] * 20, spread=0.0001)) is None


def test_only_what_is_recent_counts() -> None:
    assert change(series(*[5.0] * 30, *[10.0] * 40)) is None


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_values_say_nothing(count: int) -> None:
    assert change([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0][:count]) is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_values_that_cannot_be_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="not positive"):
        change([1.0, wrong])


def test_ranks_splits_and_trends_are_scipys() -> None:
    values = series(*[1.0] * 9, *[1.3] * 9, spread=0.2)
    assert _ranks([3.0, 1.0, 3.0, 2.0]) == list(stats.rankdata([3.0, 1.0, 3.0, 2.0]))
    split, deviations = _best_split(values)
    by_scipy = [abs(stats.ranksums(values[:at], values[at:]).statistic) for at in range(4, 15)]
    assert deviations == pytest.approx(max(by_scipy))
    assert split == 4 + by_scipy.index(max(by_scipy))
    slope, deviations = _trend(values)
    assert slope == pytest.approx(stats.theilslopes(values).slope)
    pairs = 18 * 17 / 2
    assert deviations == pytest.approx(abs(stats.kendalltau(range(18), values).statistic) * pairs / (18 * 17 * 41 / 18) ** 0.5)
