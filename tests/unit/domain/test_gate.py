"""What a gate of a deployment asks for."""

from __future__ import annotations

import pytest

from edgedeploy.domain.recipe import Gate


def test_bounds_are_fractions_of_the_figures_that_are_given() -> None:
    gate = Gate(peak_rss_percent=5, latency_p50_percent=3, ttft_percent=10)
    assert gate.bounds == (("latency_p50", 0.03), ("ttft", 0.1), ("peak_rss", 0.05))
    assert not Gate().asks


def test_fewer_tokens_in_a_second_is_more_time_for_each() -> None:
    """20 % fewer: a token takes 1.25 times as long."""
    assert Gate(tokens_per_s_percent=20).bounds == (("latency_mean", pytest.approx(0.25)),)
    assert Gate(tokens_per_s_percent=20, latency_mean_percent=10).bounds == (("latency_mean", pytest.approx(0.1)),)
    assert Gate(tokens_per_s_percent=20, latency_mean_percent=30).bounds == (("latency_mean", pytest.approx(0.25)),)
