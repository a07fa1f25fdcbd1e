"""What a part of this benchmark found, and how its sides are run in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec
from record import median_ratio


class Found(msgspec.Struct, kw_only=True):
    """Samples in seconds, figures, and a few words for the page."""

    samples: dict[str, list[float]] = {}
    figures: dict[str, float] = {}
    words: list[str] = []

    def add(self, other: Found) -> None:
        """Take up what another part found."""
        self.samples |= other.samples
        self.figures |= other.figures
        self.words += other.words

    def ratio(self, name: str, over: str, under: str) -> float:
        """Keep the median, smallest and largest of the ratios of two series; the median comes back."""
        middle, low, high = median_ratio(self.samples[over], self.samples[under])
        self.figures |= {name: middle, f"{name} min": low, f"{name} max": high}
        return middle


Way = Callable[[], float]


def timed(action: Callable[[], object]) -> float:
    """Seconds that something takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_turn(rounds: int, ways: Mapping[str, Way], *, between: Callable[[], object] = lambda: None) -> dict[str, list[float]]:
    """Samples of each way, one after the other, the other way round in every second round; ``between`` before each."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            between()
            seconds = ways[name]()
            print(f"{name}: {seconds:.3f} s", flush=True)
            samples[name].append(seconds)
    return samples
