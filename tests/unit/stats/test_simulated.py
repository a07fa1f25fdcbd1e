"""The gate on devices that do not exist; benchmarks/gate/simulate.py has the large tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgedeploy.domain.comparison import Comparison
from edgedeploy.stats.comparison import compare

ROOT = Path(__file__).parents[3]
Decide = Callable[..., list[Comparison]]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/gate"))
    import simulate

    return simulate


@pytest.fixture
def decide(simulate: ModuleType) -> Decide:
    def decided(scenario: str, slow_down: float, *, count: int = 25, most: int = 40) -> list[Comparison]:
        noise = simulate.SCENARIOS[scenario]
        return [simulate.one(noise, slow_down, seed, "latency_p50", most) for seed in range(count)]

    return decided


DISTURBED = [
    "drift +10 %",
    "step of 30 % in the middle",
    "frequency wanders",
    "neighbour on and off, 1.3x",
    "neighbour in short spells, 1.3x",
    "bimodal, 1.25x",
    "heavy tails",
    "base with a fifth of the samples",
    "second turn 2 % slower",
    "everything at once",
]


@pytest.mark.parametrize("scenario", DISTURBED)
def test_the_same_artifact_twice_raises_no_alarm(decide: Decide, scenario: str) -> None:
    results = decide(scenario, 0.0)
    assert not [one for one in results if one.verdict == "fail"]
    assert sum(one.verdict == "pass" for one in results) >= 23
    assert sum(abs(one.ratio - 1) <= 0.015 for one in results) >= 23


@pytest.mark.parametrize("scenario", DISTURBED)
def test_five_per_cent_are_found(decide: Decide, scenario: str) -> None:
    assert sum(one.verdict == "fail" for one in decide(scenario, 0.05)) >= 23


@pytest.mark.parametrize("scenario", ["processes differ by 2 %", "everything at once"])
def test_ten_per_cent_are_found_in_few_blocks(decide: Decide, scenario: str) -> None:
    results = decide(scenario, 0.10, most=20)
    assert all(one.verdict == "fail" for one in results)
    assert np.median([one.blocks for one in results]) <= 8


def test_long_turns_beside_a_neighbour_are_not_judged_lightly(decide: Decide) -> None:
    results = decide("one process at a time, neighbour", 0.0, count=10)
    assert all(one.verdict == "inconclusive" for one in results)
    assert all("stop what else runs on it" in one.reasons[-1] or "slower meanwhile" in one.reasons[-1] for one in results)


@pytest.mark.parametrize("figure", ["latency_p90", "latency_mean"])
def test_tails_and_means_are_compared_alike(simulate: ModuleType, figure: str) -> None:
    noise = simulate.SCENARIOS["processes differ by 1 %"]
    same = [simulate.one(noise, 0.0, seed, figure, 40) for seed in range(10)]
    slower = [simulate.one(noise, 0.10, seed, figure, 40) for seed in range(10)]
    assert {one.verdict for one in same} == {"pass"}
    assert {one.verdict for one in slower} == {"fail"}


def test_looking_one_by_one_is_looking_at_all(simulate: ModuleType) -> None:
    device = simulate.Device(noise=simulate.SCENARIOS["quiet"], slow_down=0.05, rng=np.random.default_rng(0))
    by_block = simulate.one(simulate.SCENARIOS["quiet"], 0.05, 0, "latency_p50", 40)
    assert compare([device.block() for _ in range(by_block.blocks)], "latency_p50") == by_block
