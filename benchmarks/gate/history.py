"""How often does a series of results raise an alarm for nothing, and how soon does it see a change? Against the usual rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, sqrt
from statistics import median

import numpy as np

from edgedeploy.stats.history import change
from edgedeploy.stats.next_value import expected

SERIES = 150
RESULTS = 60
CHANGED_AT = 30
USUAL = 1.05  # times the median of the last five
MEDIAN_VARIATION, WORST_VARIATION = 0.046, 0.388  # of a public lab's phones


def noise(rng: np.random.Generator, kind: str) -> np.ndarray:
    """A series around 1, as noisy as one of that lab's."""
    variation = min(MEDIAN_VARIATION * np.exp(rng.normal(0, 0.75)), WORST_VARIATION)
    if kind == "heavy tails":
        shape = rng.standard_t(3, RESULTS) / sqrt(3)
    elif kind == "two humps":
        shape = np.where(rng.random(RESULTS) < 0.25, 1.7, -0.57) + rng.normal(0, 0.3, RESULTS)  # noqa: PLR2004
    else:
        shape = rng.normal(size=RESULTS)
        if kind == "each like the one before":
            for index in range(1, RESULTS):
                shape[index] = 0.5 * shape[index - 1] + sqrt(0.75) * shape[index]
    return np.exp(sqrt(log(1 + variation**2)) * shape)


def usual(values: Sequence[float]) -> bool:
    """More than 5 % above the median of the last five."""
    return values[-1] > USUAL * median(values[-6:-1])


def ours(values: Sequence[float]) -> bool:
    """A step or drift to the worse."""
    found = change(values)
    return found is not None and found.relative > 0


def outside(values: Sequence[float]) -> bool:
    """Slower or faster than those before let one expect."""
    bounds = expected(values[:-1])
    return bounds is not None and not bounds[0] <= values[-1] <= bounds[1]


def alarms(rule: Callable[[Sequence[float]], bool], series: Sequence[np.ndarray]) -> float:
    """New alarms per result, in per cent."""
    raised = looks = 0
    for values in series:
        before = False
        for end in range(12, RESULTS + 1):
            now = rule(values[:end].tolist())
            raised += now and not before
            looks += 1
            before = now
    return 100 * raised / looks


def seen_within(rule: Callable[[Sequence[float]], bool], series: Sequence[np.ndarray], factor: float, results: int) -> float:
    """How many changes are seen within so many results, in per cent."""
    seen = 0
    for values in series:
        changed = values * np.where(np.arange(RESULTS) >= CHANGED_AT, factor, 1.0)
        seen += any(rule(changed[:end].tolist()) for end in range(CHANGED_AT + 1, CHANGED_AT + results + 1))
    return 100 * seen / len(series)


def main() -> None:
    """Print the table."""
    print("| noise | rule | new alarms per result, % | +10 % seen within 5 / 10 / 15 results, % | +20 % |\n" + "|---" * 5 + "|")
    for kind in ("normal", "heavy tails", "two humps", "each like the one before"):
        rng = np.random.default_rng(2)
        series = [noise(rng, kind) for _ in range(SERIES)]
        for name, rule in (("5 % above the median of five", usual), ("ours", ours), ("outside its series", outside)):
            found = [" / ".join(f"{seen_within(rule, series, f, results):.0f}" for results in (5, 10, 15)) for f in (1.1, 1.2)]
            print(f"| {kind} | {name} | {alarms(rule, series):.2f} | {found[0]} | {found[1]} |", flush=True)


if __name__ == "__main__":
    main()
