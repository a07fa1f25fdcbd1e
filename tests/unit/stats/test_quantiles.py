"""Quantiles against numpy's second implementation; the bootstrap against what is known of its coverage."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.stats import quantile, quantile_interval


@given(st.lists(st.integers(0, 10**12), min_size=1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 0.99, 1.0]))
def test_quantile_is_numpys_inverted_cdf(samples: list[int], q: float) -> None:
    assert quantile(samples, q) == int(np.quantile(np.array(samples), q, method="inverted_cdf"))


@pytest.mark.parametrize(("samples", "q"), [([], 0.5), ([1], 1.5), ([1], -0.1)])
def test_quantile_refuses_nonsense(samples: list[int], q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(samples, q)


@pytest.mark.parametrize("processes", [2, 3, 5, 10])
def test_the_interval_covers_the_true_median_as_often_as_it_says(processes: int) -> None:
    rng = random.Random(7)
    hits, trials = 0, 400
    for _ in range(trials):
        # Processes differ by 2 %, iterations inside one by 1 %: the true median is 1,000,000 ns.
        centres = [rng.gauss(1_000_000, 20_000) for _ in range(processes)]
        low, high = quantile_interval([[round(rng.gauss(centre, 10_000)) for _ in range(15)] for centre in centres])
        hits += low <= 1_000_000 <= high
    assert 0.92 * trials <= hits <= 0.98 * trials  # 95 %, and three standard errors to either side


def test_the_interval_is_as_wide_as_the_processes_differ() -> None:
    low, high = quantile_interval([[100] * 50, [200] * 50])
    assert (low, high) == (0, 786)  # 150 ± 12.706 · 70.71 / √2, and no latency is negative
    assert quantile_interval([[100] * 50, [100] * 50]) == (100, 100)


def test_one_process_gives_its_own_spread_only() -> None:
    low, high = quantile_interval([[10, 11, 12, 13, 14] * 10])
    assert 10 <= low <= 12 <= high <= 14
