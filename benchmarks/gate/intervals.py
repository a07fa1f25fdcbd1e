"""Which interval over a few block log-ratios misses the truth as seldom as it says?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats

from edgedeploy.stats.comparison import TAIL_PER_LOOK

TRIALS = 1000
RESAMPLES = 4000
BLOCKS = (3, 5, 8, 12, 20)
TAILS = {"95 %": 0.025, "one look": TAIL_PER_LOOK}

Interval = Callable[[np.ndarray, float, np.random.Generator], tuple[float, float]]


def student(values: np.ndarray, tail: float, _: np.random.Generator) -> tuple[float, float]:
    """Mean and Student's t."""
    half = stats.t.isf(tail, len(values) - 1) * stats.sem(values)
    return values.mean() - half, values.mean() + half


def percentile(values: np.ndarray, tail: float, rng: np.random.Generator) -> tuple[float, float]:
    """Efron 1979: quantiles of the resampled means."""
    low, high = np.quantile(_resampled(values, rng).mean(axis=1), [tail, 1 - tail])
    return low, high


def bca(values: np.ndarray, tail: float, rng: np.random.Generator) -> tuple[float, float]:
    """Efron 1987: bias-corrected and accelerated."""
    means = _resampled(values, rng).mean(axis=1)
    bias = special.ndtri(np.clip((means < values.mean()).mean(), 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    left_out = (values.sum() - values) / (len(values) - 1)
    off = left_out.mean() - left_out
    acceleration = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    z = bias + special.ndtri([tail, 1 - tail])
    low, high = np.quantile(means, special.ndtr(bias + z / (1 - acceleration * z)))
    return low, high


def bootstrap_t(values: np.ndarray, tail: float, rng: np.random.Generator) -> tuple[float, float]:
    """Efron & Tibshirani 1993, §12.5: quantiles of the resampled t."""
    resampled = _resampled(values, rng)
    errors = stats.sem(resampled, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num((resampled.mean(axis=1) - values.mean()) / errors, nan=0.0, posinf=np.inf, neginf=-np.inf)
    low, high = np.quantile(t, [tail, 1 - tail], method="nearest")
    return values.mean() - high * stats.sem(values), values.mean() - low * stats.sem(values)


def _resampled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values[rng.integers(0, len(values), (RESAMPLES, len(values)))]


def misses(interval: Interval, tail: float, blocks: int, trials: int, *, outliers: bool) -> float:
    """How often the interval does not contain the truth, in per cent."""
    rng = np.random.default_rng(blocks)
    missed = 0
    for _ in range(trials):
        values = rng.normal(size=blocks) * np.where(rng.random(blocks) < 0.1 * outliers, 5, 1)
        low, high = interval(values, tail, rng)
        missed += not low <= 0 <= high
    return 100 * missed / trials


def main() -> None:
    """Print the table."""
    print(f"| interval | misses, per cent, with {', '.join(map(str, BLOCKS))} blocks | with one outlier in ten |\n|---|---|---|")
    for label, tail in TAILS.items():
        for name, interval in (("Student", student), ("percentile", percentile), ("BCa", bca), ("bootstrap-t", bootstrap_t)):
            trials = TRIALS * (5 if interval is student else 1)
            cells = [
                " / ".join(f"{misses(interval, tail, blocks, trials, outliers=outliers):.2g}" for blocks in BLOCKS)
                for outliers in (False, True)
            ]
            print(f"| {name}, {label} (should: {200 * tail:.2g}) | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
