from __future__ import annotations

import pytest

from edgedeploy.stats.power import mean_power_w, resolution_w, within


def test_power_is_integrated_over_time() -> None:
    assert mean_power_w([(0, 1.0), (1, 3.0), (3, 3.0)], counts=False) == pytest.approx(8 / 3)


def test_a_counter_needs_only_its_ends() -> None:
    assert mean_power_w([(10, 5.0), (11, 5.0), (14, 13.0)], counts=True) == 2.0


@pytest.mark.parametrize("counts", [False, True])
def test_too_little_is_none(*, counts: bool) -> None:
    assert mean_power_w([], counts=counts) is None
    assert mean_power_w([(0, 1.0), (1, 1.0)], counts=counts) is None
    assert mean_power_w([(1, 1.0), (1, 1.0), (1, 1.0)], counts=counts) is None


def test_a_counter_that_goes_back_is_none() -> None:
    assert mean_power_w([(0, 5.0), (1, 6.0), (2, 4.0)], counts=True) is None


def test_the_end_of_a_series() -> None:
    assert within([(0, 1.0), (1, 2.0), (2, 3.0)], 1.0) == ((1, 2.0), (2, 3.0))


def test_the_smallest_step_is_the_resolution() -> None:
    assert resolution_w([(0, 1.0), (1, 1.5), (2, 1.25), (3, 1.0)], counts=False) == 0.25
    assert resolution_w([(0, 0.0), (5, 1.0), (10, 3.0)], counts=True) == 0.1
    assert resolution_w([(0, 1.0), (1, 1.0)], counts=False) == 0.0
