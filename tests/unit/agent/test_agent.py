"""The agent's own loops, without an engine."""

from __future__ import annotations

import array
import random
from collections.abc import Callable

import pytest

from edgedeploy.agent import edgedeploy_agent as agent
from edgedeploy.stats.steady import steady

MS = 1_000_000


class Clock:
    """Stands still but for what an invocation takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, takes_ns: int) -> None:
        self.now_ns, self.takes_ns = 0, takes_ns
        monkeypatch.setattr(agent.time, "monotonic_ns", lambda: self.now_ns)

    def invoke(self) -> None:
        self.now_ns += self.takes_ns


def loop_of(clock: Clock, cases: int) -> tuple[agent.TimedLoop, list[int]]:
    given: list[int] = []

    def setter(case: int) -> Callable[[], None]:
        return lambda: given.append(case)

    return agent.TimedLoop([setter(case) for case in range(cases)], clock.invoke), given


def test_cases_come_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, given = loop_of(Clock(monkeypatch, MS), 3)
    samples_ns = array.array("q")
    loop.run(samples_ns, 5, 0, 1e9)
    assert list(samples_ns) == [MS] * 5
    assert given == [0, 1, 2, 0, 1]
    loop.run(samples_ns, 2, 0, 1e9)
    assert given[5:] == [2, 0]


@pytest.mark.parametrize(
    ("iterations", "least_ns", "most_ns", "expected"),
    [(5, 0, 1e9, 5), (5, 20 * MS, 1e9, 20), (5, 3 * MS, 1e9, 5), (5, 50 * MS, 10 * MS, 10), (5, 0, 1, 1), (0, 50 * MS, 1e9, 0)],
)
def test_number_and_duration(
    monkeypatch: pytest.MonkeyPatch, iterations: int, least_ns: float, most_ns: float, expected: int
) -> None:
    loop, _ = loop_of(Clock(monkeypatch, MS), 1)
    samples_ns = array.array("q")
    loop.run(samples_ns, iterations, least_ns, most_ns)
    assert len(samples_ns) == expected


@pytest.mark.parametrize(
    ("arguments", "iterations", "reached"),
    [
        (["--warmup", "3"], 3, None),
        (["--warmup", "3", "--warmup-seconds", "5"], 24, True),
        (["--warmup", "30", "--warmup-seconds", "5"], 30, True),
        (["--warmup", "3", "--warmup-seconds", "0.1"], 5, False),
        (["--warmup", "3", "--warmup-seconds", "5", "--iterations", "0"], 0, None),
    ],
)
def test_warm_up_ends(monkeypatch: pytest.MonkeyPatch, arguments: list[str], iterations: int, reached: bool | None) -> None:
    loop, given = loop_of(Clock(monkeypatch, 20 * MS), 1)
    found = agent.Session()._warm_up(loop, agent.parse_arguments(["--model", "m", "--output-dir", "o", *arguments]))
    assert len(found["warmup_ns"]) == len(given) == iterations
    assert ("steady" in found) == (reached is not None)
    if reached is not None:
        assert found["warmup_iterations"] == iterations
        assert found["steady"] == ({"since": 0, "known": 24} if reached else None)


def test_of_very_many_warm_ups_the_first_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, given = loop_of(Clock(monkeypatch, 10_000), 1)
    words = ["--model", "m", "--output-dir", "o", "--warmup", "2", "--warmup-seconds", "5"]
    found = agent.Session()._warm_up(loop, agent.parse_arguments(words))
    assert (found["warmup_iterations"], len(found["warmup_ns"])) == (len(given), agent.WARMUPS_TOLD)
    assert found["steady"] == {"since": 0, "known": len(given)}


@pytest.mark.parametrize(
    "wrong", [["--warmup-seconds", "-1"], ["--min-seconds", "nan"], ["--vary", "2"], ["--vary", ""], ["--min-seconds", ""]]
)
def test_wrong_arguments(wrong: list[str]) -> None:
    with pytest.raises(agent.RunnerFailure) as caught:
        agent.parse_arguments(["--model", "m", "--output-dir", "o", *wrong])
    assert caught.value.stage == "usage"


WORDS = ["--model", "m", "--output-dir", "o"]


def test_bursts_are_whole_and_end_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(agent.time, "sleep", rests.append)
    loop, given = loop_of(Clock(monkeypatch, 10 * MS), 3)
    bursts = ["--bursts", "4", "--idle-seconds", "0.5", "--iterations", "5"]
    found = agent.take_bursts(loop, agent.parse_arguments([*WORDS, *bursts]))
    assert [burst["iterations"] for burst in found["bursts"]] == [5] * 4
    assert (len(found["latency_ns"]), rests, given[:4]) == (20, [0.5] * 4, [0, 1, 2, 0])
    short = agent.take_bursts(loop, agent.parse_arguments([*WORDS, *bursts, "--max-seconds", "0.06"]))
    assert len(short["bursts"]) == 2


def test_windows_count_all_and_keep_some_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, MS)
    loop, given = loop_of(clock, 3)
    found = agent.take_windows(loop, agent.parse_arguments([*WORDS, "--window-seconds", "0.25", "--max-seconds", "0.9"]))
    assert [(window["iterations"], window["kept"]) for window in found["windows"]] == [(250, 63), (250, 63), (250, 63), (150, 75)]
    assert [window["began_ns"] for window in found["windows"]] == [0, 250 * MS, 500 * MS, 750 * MS]
    assert (len(found["latency_ns"]), found["timed_ns"], len(given)) == (63 * 3 + 75, 900 * MS, 900)
    clock.takes_ns = 400 * MS
    slow = agent.take_windows(loop, agent.parse_arguments([*WORDS, "--window-seconds", "0.1", "--max-seconds", "1"]))
    assert [window["iterations"] for window in slow["windows"]] == [1, 1, 1]


@pytest.mark.parametrize("count", [1, 99, 100, 101, 150, 200, 201, 1000, 12_345])
def test_what_is_kept_is_every_so_many_th(count: int) -> None:
    window = agent.KeptEvenly(0)
    for number in range(count):
        window.take(number)
    kept = list(window.kept_ns)
    assert kept[0] == 0
    stride = kept[1] - kept[0] if len(kept) > 1 else 1
    assert kept == list(range(0, count, stride))
    assert len(kept) <= agent.WINDOW_KEPT
    assert window.iterations == count
    assert len(kept) > agent.WINDOW_KEPT // 2 or stride == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "--bursts 2",
        "--idle-seconds 1",
        "--bursts 0 --idle-seconds 1",
        "--bursts 2 --idle-seconds nan",
        "--bursts 2 --idle-seconds 1e30",
        "--bursts 10001 --idle-seconds 1",
        "--bursts 2 --idle-seconds 1 --iterations 0",
        "--bursts 1000 --idle-seconds 1 --iterations 100000",
        "--bursts 2 --idle-seconds 1 --window-seconds 1",
        "--window-seconds 1 --turns AB --side A",
        "--window-seconds 1 --profile 5",
        "--window-seconds 0",
        "--window-seconds 0.001 --max-seconds 600",
        "--barrier yes",
        "--barrier 1 --profile 5",
        "--barrier 1 --turns AB --side A",
        "--barrier 1 --iterations 0",
    ],
)
def test_ways_that_cannot_be(wrong: str) -> None:
    with pytest.raises(agent.RunnerFailure) as caught:
        agent.parse_arguments([*WORDS, *wrong.split()])
    assert caught.value.stage == "usage"


def test_it_follows_the_rule_of_the_statistics() -> None:
    rng = random.Random(5)
    for _ in range(200):
        level_ns, fall, spread = rng.choice([2, 20, 200]) * MS, rng.uniform(0, 2), rng.choice([0, 0.01, 0.2])
        decay = rng.choice([0.8, 0.97, 1.0])
        latency_ns = [
            max(1, round(level_ns * (1 + fall * decay**index) * rng.gauss(1, spread))) for index in range(rng.randrange(400))
        ]
        watch = agent.SteadyWatch()
        for ns in latency_ns:
            watch.take(ns)
        seen = steady(latency_ns)
        assert watch.steady == (seen and {"since": seen.since, "known": seen.known})
