"""How often a sustained run is called throttled, on devices that are made up: the table of docs/modes.md.

python benchmarks/gate/sustained.py --count 300
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable

from edgedeploy.stats.sustained import slower_since

SECONDS = 600  # a window each
SLOWDOWN = 0.1
_TAIL_SHARE = 0.05
Level = Callable[[float], float]
"""How slow a device is by itself, at a share of the run."""


class Neighbour:
    """Something else that comes and goes, and slows inferences down by a third while it is there."""

    def __init__(self, rng: random.Random, mean_s: float) -> None:
        self._rng, self._mean_s = rng, mean_s
        self._until_s, self._there = 0.0, False

    def at(self, second: float) -> float:
        """By what it slows down at that moment."""
        if second >= self._until_s:
            self._there = not self._there
            self._until_s = second + self._rng.expovariate(1 / self._mean_s)
        return 1.3 if self._there else 1.0


def steady(_share: float) -> float:
    """As fast as ever."""
    return 1.0


def step(factor: float, share: float) -> Level:
    """Slower at once."""
    return lambda at: factor if at >= share else 1.0


def ramp(factor: float, begins: float, ends: float) -> Level:
    """Slower bit by bit."""
    return lambda at: 1 + (factor - 1) * min(1.0, max(0.0, (at - begins) / (ends - begins)))


def on_and_off(period_s: float) -> Level:
    """Slow in every second half."""
    return lambda at: 1.3 if (at * SECONDS) % period_s >= period_s / 2 else 1.0


def run(level: Level, *, noise: float, seed: int, spells_s: float = 0, tails: bool = False) -> float | None:
    """When one run is said to become slower."""
    rng = random.Random(seed)  # noqa: S311 - simulation, not secrets
    neighbour = Neighbour(rng, spells_s) if spells_s else None
    windows = []
    for second in range(SECONDS):
        slow = level(second / SECONDS) * math.exp(rng.gauss(0, noise))
        slow *= neighbour.at(second) if neighbour else 1.0
        slow *= rng.paretovariate(1.5) if tails and rng.random() < _TAIL_SHARE else 1.0
        windows.append((float(second), round(1e6 * slow)))
    return slower_since(windows, SLOWDOWN)


SCENARIOS: tuple[tuple[str, Level, dict[str, float | bool], float | None], ...] = (
    ("steady", steady, {}, None),
    ("steady, heavy tails", steady, {"tails": True}, None),
    ("5 % slower from the middle on", step(1.05, 0.5), {}, None),
    ("drift of 5 %", ramp(1.05, 0, 1), {}, None),
    ("a slow minute in the middle", lambda at: step(1.5, 0.5)(at) / step(1.5, 0.6)(at), {}, None),
    ("slow for the last 5 %", step(1.5, 0.95), {}, None),
    ("on and off, 10 s", on_and_off(10), {}, None),
    ("on and off, 100 s", on_and_off(100), {}, None),
    ("neighbour, spells of 2 s", steady, {"spells_s": 2}, None),
    ("neighbour, spells of 20 s", steady, {"spells_s": 20}, None),
    ("neighbour, spells of a minute", steady, {"spells_s": 60}, None),
    ("throttled by 15 % at half time", step(1.15, 0.5), {}, 0.5),
    ("by 30 % at half time", step(1.3, 0.5), {}, 0.5),
    ("by 30 % at 15 % of the time", step(1.3, 0.15), {}, 0.15),
    ("by 30 %, heavy tails", step(1.3, 0.5), {"tails": True}, 0.5),
    ("by 30 %, neighbour in spells of 2 s", step(1.3, 0.5), {"spells_s": 2}, 0.5),
    ("bit by bit to 50 %, from 20 to 60 % of the time", ramp(1.5, 0.2, 0.6), {}, 0.28),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    count = parser.parse_args().count
    print("| scenario | noise of a window | called throttled, % | moment off by, % of the run: median, worst |")
    print("|---|---|---|---|")
    for name, level, disturbed, moment in SCENARIOS:
        for noise in (0.01, 0.05):
            found = [run(level, noise=noise, seed=seed, **disturbed) for seed in range(count)]  # type: ignore[arg-type]
            called = [at_s for at_s in found if at_s is not None]
            off = sorted(100 * abs(at_s / SECONDS - moment) for at_s in called) if moment is not None else []
            errors = f"{statistics.median(off):.1f}, {off[-1]:.1f}" if off else ""
            print(f"| {name} | {noise:.0%} | {100 * len(called) / count:.1f} | {errors} |")


if __name__ == "__main__":
    main()
