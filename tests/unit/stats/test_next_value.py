from __future__ import annotations

import numpy as np
import pytest

from edgedeploy.stats.next_value import LEAST_RESULTS, expected


def test_few_results_say_nothing_of_the_next() -> None:
    assert expected([8.0] * (LEAST_RESULTS - 1)) is None


def test_a_series_without_noise_still_leaves_three_per_cent() -> None:
    assert expected([100.0] * LEAST_RESULTS) == pytest.approx((100 / 1.03, 103))


def test_one_result_in_a_thousand_of_normal_noise_is_outside() -> None:
    rng = np.random.default_rng(1)
    outside = 0
    for _ in range(4000):
        *before, last = np.exp(rng.normal(0, 0.1, 13)).tolist()
        bounds = expected(before)
        assert bounds is not None
        outside += not bounds[0] <= last <= bounds[1]
    assert 0 < outside < 14  # 4 expected; as many as 14 in one of 10,000 tests


def test_only_the_last_forty_count() -> None:
    assert expected([1.0, 9.0] * 50 + [5.0] * 40) == expected([5.0] * 40)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not positive"):
        expected([1.0] * 9 + [value])
