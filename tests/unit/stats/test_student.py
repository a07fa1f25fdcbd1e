from __future__ import annotations

import pytest
from scipy import stats

from edgedeploy.stats.student import t_interval, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 10, 19, 59, 99, 200])
@pytest.mark.parametrize("tail", [0.4, 0.05, 0.025, 0.0007, 1e-5])
def test_the_quantile_is_scipys(degrees: int, tail: float) -> None:
    assert t_quantile(tail, degrees) == pytest.approx(stats.t.isf(tail, degrees), rel=1e-8)


def test_the_interval_is_scipys() -> None:
    values = [0.012, -0.004, 0.03, 0.011, 0.02]
    mean, half = t_interval(values, 0.01)
    low, high = stats.t.interval(0.98, len(values) - 1, loc=mean, scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


@pytest.mark.parametrize(("tail", "degrees"), [(0.0, 3), (0.5, 3), (float("nan"), 3), (0.1, 0)])
def test_a_quantile_of_nonsense_is_refused(tail: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="t quantile"):
        t_quantile(tail, degrees)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_value_has_no_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="interval"):
        t_interval(values, 0.01)
