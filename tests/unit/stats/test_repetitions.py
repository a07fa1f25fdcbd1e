from __future__ import annotations

import pytest
from scipy import stats

from edgedeploy.stats.repetitions import estimate


def test_mean_error_and_interval_are_scipys() -> None:
    values = [12.1, 12.9, 11.8, 12.4]
    seen = estimate(values)
    assert (seen.mean, seen.repetitions) == (pytest.approx(12.3), 4)
    assert seen.standard_error == pytest.approx(stats.sem(values))
    assert (seen.ci_low, seen.ci_high) == pytest.approx(stats.t.interval(0.95, 3, loc=12.3, scale=stats.sem(values)))


def test_a_coarse_instrument_is_not_sure_because_it_repeats_itself() -> None:
    assert estimate([5.0] * 10).standard_error == 0.0
    assert estimate([5.0] * 10, resolution=1.2).standard_error == pytest.approx(1.2 / 12**0.5)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_what_has_no_uncertainty_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"uncertainty|finite"):
        estimate(values)


@pytest.mark.parametrize("resolution", [-1.0, float("nan")])
def test_a_resolution_of_nonsense_is_refused(resolution: float) -> None:
    with pytest.raises(ValueError, match="resolution"):
        estimate([1.0, 2.0], resolution=resolution)
