"""When a fight ends, and how its blocks are made. The runners are made up; real ones are in tests/integration."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from unit.stages.planned import FP32, artifact, planned, runner

from edgedeploy.domain.events import Event, Note
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError, UsageError
from edgedeploy.ports import Connection
from edgedeploy.runners.document import (
    Clock,
    GeneratedDocument,
    LanguageDocument,
    ModelFile,
    OutputFile,
    ProcessDocument,
    RunnerDocument,
    RunnerIdentity,
    TurnDocument,
)
from edgedeploy.stages import fight as fight_module
from edgedeploy.stages.duel import Duel, NoTurnsError, most_iterations
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.fight import Fight, Fought, Rules

_NOBODY = cast("Connection", None)


def document(latency_ns: list[int], turns: list[TurnDocument]) -> RunnerDocument:
    return RunnerDocument(
        schema="edgedeploy.runner/1",
        runner=RunnerIdentity(name="made up", version="1", engine="none", engine_version="1"),
        model=ModelFile(sha256="0" * 64, size_bytes=7),
        threads=1,
        cpus=(0,),
        clock=Clock(name="CLOCK_MONOTONIC", resolution_ns=1),
        load_ns=1_000_000,
        rss_before_load_bytes=1,
        peak_rss_bytes=2_000_000,
        first_inference_ns=1,
        warmup_ns=(),
        latency_ns=tuple(latency_ns),
        cases=1,
        outputs=(OutputFile(dtype="float32", shape=(1,), file="output_0.bin"),),
        turns=tuple(turns),
    )


class MadeUp:
    """A duel whose candidate takes ``ratio`` times as long; each iteration has noise of its own."""

    def __init__(self, base: Placed, *, ratio: float, base_ns: int = 1_000_000, lost_turns: int = 0, most: int = 2000) -> None:
        self.base = self.candidate = base
        self.policy = MeasurePolicy(iterations=most)
        self.iterations = min(most, max(1, 50_000_000 // base_ns))
        self.schedules: list[str] = []
        self._ratio, self._base_ns, self._lost_turns = ratio, base_ns, lost_turns
        self._rng = random.Random(7)

    def fight(
        self, _connection: Connection, schedule: str, *, known_turn_s: float | None = None
    ) -> tuple[RunnerDocument, RunnerDocument]:
        self.schedules.append(schedule)
        self.known_turn_s = known_turn_s
        found = []
        for side, factor in (("A", 1.0), ("B", self._ratio)):
            own = [place for place, letter in enumerate(schedule) if letter == side]
            own = own[: len(own) - (self._lost_turns if len(schedule) > 2 else 0)]
            turns = [
                TurnDocument(began_ns=(len(self.schedules) * 1000 + place) * 10**9, iterations=self.iterations) for place in own
            ]
            found.append(document([self._sample(factor) for _ in range(self.iterations * len(turns))], turns))
        return found[0], found[1]

    def _sample(self, factor: float) -> int:
        return round(self._base_ns * factor * self._rng.lognormvariate(0, 0.01))


@pytest.fixture
def base(tmp_path: Path) -> Placed:
    made = artifact(tmp_path, planned(lane=FP32))
    return Placed(
        artifact=made,
        bundle=runner(tmp_path / "runner"),
        artifact_dir="/a",
        runner_dir="/r",
        scratch="/s",
        python="python3",
        device="bench",
    )


def fought(duel: MadeUp, *, has_room: bool = True, **rules: Any) -> tuple[Fought, list[Event]]:
    events: list[Event] = []
    found = Fight(_NOBODY, cast("Duel", duel), Rules(**rules), events.append, "net on bench", has_room=has_room).fight()
    return found, events


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "pass"), (1.1, "fail"), (0.8, "pass")])
def test_it_ends_as_soon_as_the_answer_is_clear(base: Placed, ratio: float, verdict: str) -> None:
    duel = MadeUp(base, ratio=ratio)
    found, _ = fought(duel)
    assert found.verdict == verdict
    assert found.decided[0].blocks == len(found.blocks) == len(duel.schedules) - 1 == 5
    assert found.decided[0].ratio == pytest.approx(ratio, rel=0.01)
    assert found.taking_turns


def test_of_several_figures_all_have_to_pass_and_one_is_enough_to_fail(base: Placed) -> None:
    same, _ = fought(MadeUp(base, ratio=1.0), bounds=(("latency_p50", 0.02), ("latency_p90", 0.05), ("peak_rss", 0.01)))
    assert same.verdict == "pass"
    assert [one.verdict for one in same.decided] == ["pass"] * 3
    slower, events = fought(MadeUp(base, ratio=1.1), bounds=(("peak_rss", 0.01), ("latency_p90", 0.05)))
    assert slower.verdict == "fail"
    assert {one.figure: one.verdict for one in slower.decided}["latency_p90"] == "fail"
    assert "latency_p90 1.09" in str(events[-1])


def test_the_first_turns_only_show_how_long_a_block_is_to_be(base: Placed) -> None:
    duel = MadeUp(base, ratio=1.0)
    fought(duel)
    assert duel.schedules[0] == "AB"
    assert {len(schedule) for schedule in duel.schedules[1:]} == {20}
    assert duel.known_turn_s == pytest.approx(0.055, rel=0.01)
    slow = MadeUp(base, ratio=1.0, base_ns=10**9)
    fought(slow)
    assert {len(schedule) for schedule in slow.schedules[1:]} == {4}
    assert slow.known_turn_s == pytest.approx(2, rel=0.1)
    assert all(schedule.count("A") == schedule.count("B") for schedule in slow.schedules)


def test_a_turn_of_a_language_model_is_a_whole_answer(base: Placed) -> None:
    class Speakers(MadeUp):
        def fight(self, connection: Connection, schedule: str, **known: Any) -> tuple[Any, Any]:
            both = super().fight(connection, schedule, **known)
            return tuple(self._spoken(one) for one in both)

        @staticmethod
        def _spoken(one: RunnerDocument) -> LanguageDocument:
            decode_ns = [one.latency_ns[20 * turn :][:20] for turn in range(len(one.turns))]
            answers = [
                GeneratedDocument(prompt_tokens=9, prefill_ns=10**9, ttft_ns=10**9, decode_ns=times, tokens=(0,) * 21)
                for times in (decode_ns[0], *decode_ns)
            ]
            known = {name: getattr(one, name) for name in ProcessDocument.__struct_fields__}
            return LanguageDocument(**known, generation=tuple(answers))

    duel = Speakers(base, ratio=1.0, base_ns=100_000_000)
    duel.iterations = 20
    found, _ = fought(duel)
    assert found.verdict == "pass"
    assert {len(schedule) for schedule in duel.schedules[1:]} == {4}
    assert duel.known_turn_s == pytest.approx(3, rel=0.1)
    assert {turn.ttft_ns for block in found.blocks for turn in block.turns} == {10**9}


def test_the_same_seed_takes_the_same_turns_and_another_one_does_not(base: Placed) -> None:
    first, second, third = (MadeUp(base, ratio=1.1) for _ in range(3))
    for duel, seed in ((first, 3), (second, 3), (third, 4)):
        fought(duel, seed=seed)
    assert first.schedules == second.schedules
    assert first.schedules != third.schedules


def test_when_the_time_is_over_it_says_so(base: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr(fight_module.time, "monotonic", lambda: next(clock))
    found, _ = fought(MadeUp(base, ratio=1.019), limit_s=60)
    assert found.verdict == "inconclusive"
    assert found.reasons[-1] == "the 60 s were over"
    assert 3 <= len(found.blocks) <= 60 / 4


def test_a_block_that_would_take_longer_than_there_is_time_has_fewer_turns_or_is_refused(
    base: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(fight_module.time, "monotonic", lambda: now_s)
    duel = MadeUp(base, ratio=1.019, base_ns=100_000_000)
    true_fight = duel.fight

    def fight(connection: Connection, schedule: str, **times: float) -> tuple[RunnerDocument, RunnerDocument]:
        nonlocal now_s
        now_s += 1 + 0.2 * len(schedule)
        return true_fight(connection, schedule, **times)

    monkeypatch.setattr(duel, "fight", fight)
    fought(duel, limit_s=180)
    assert {len(schedule) for schedule in duel.schedules[1:]} == {20}
    duel.schedules, now_s = [], 0.0
    fought(duel, limit_s=4.5)
    assert [len(schedule) for schedule in duel.schedules] == [2, 10]
    assert now_s <= 4.5
    duel.schedules, now_s = [], 0.0
    with pytest.raises(UsageError, match="no time for a single block") as raised:
        fought(duel, limit_s=3)
    assert [len(schedule) for schedule in duel.schedules] == [2]
    assert "--max-seconds 16" in raised.value.next_step


def test_turns_that_leave_no_time_for_a_block_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match="no time for a single block") as raised:
        Rules(limit_s=180, turn_s=60)
    assert "one takes about 240 s" in raised.value.seen


@pytest.mark.parametrize(("turn_s", "most"), [(0.001, 2000), (0.05, 2000), (1, 40_000), (60, 50_000)])
def test_longer_turns_may_have_more_iterations(turn_s: float, most: int) -> None:
    assert most_iterations(turn_s) == most


def test_turns_that_end_before_their_time_are_told_and_more_of_them_are_taken(base: Placed) -> None:
    duel = MadeUp(base, ratio=1.0, most=20)
    _, events = fought(duel, turn_s=1.0)
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert "after 20 iterations, about 0.12 s, and not after 1 s" in note
    assert {len(schedule) for schedule in duel.schedules[1:]} == {20}
    _, events = fought(MadeUp(base, ratio=1.0, most=20))  # so many are enough for a usual turn
    assert not [event for event in events if isinstance(event, Note)]


@pytest.mark.parametrize("nonsense", ["no time at all", "a clock that went back"])
def test_times_that_cannot_be_true_are_an_error_of_that_runner(
    base: Placed, monkeypatch: pytest.MonkeyPatch, nonsense: str
) -> None:
    duel = MadeUp(base, ratio=1.0)
    true_fight = duel.fight

    def fight(connection: Connection, schedule: str, **times: float) -> tuple[RunnerDocument, RunnerDocument]:
        one, other = true_fight(connection, schedule, **times)
        if nonsense == "no time at all":
            return one, msgspec.structs.replace(other, latency_ns=(0,) * len(other.latency_ns))
        turns = tuple(reversed(other.turns))
        return one, msgspec.structs.replace(other, turns=turns)

    monkeypatch.setattr(duel, "fight", fight)
    with pytest.raises(RunnerError, match="cannot be true"):
        fought(duel)


def test_a_runner_that_leaves_out_turns_is_not_believed(base: Placed) -> None:
    with pytest.raises(RunnerError, match="fewer turns"):
        fought(MadeUp(base, ratio=1.0, lost_turns=1))


@pytest.mark.parametrize("why", ["no room", "no pipes"])
def test_where_two_cannot_be_there_at_once_they_run_one_after_the_other(
    base: Placed, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    rng = random.Random(5)

    def alone(*_about: object) -> RunnerDocument:
        return document([round(1e6 * rng.lognormvariate(0, 0.005)) for _ in range(50)], [])

    monkeypatch.setattr(fight_module, "execute", alone)
    duel = MadeUp(base, ratio=1.0)
    if why == "no pipes":

        def refuse(*_about: object) -> tuple[RunnerDocument, RunnerDocument]:
            raise NoTurnsError("two processes cannot be joined", seen="mkfifo: Permission denied")

        monkeypatch.setattr(duel, "fight", refuse)
    found, events = fought(duel, has_room=why != "no room")
    assert found.verdict == "pass"
    assert not found.taking_turns
    assert all(len(block.turns) == 2 for block in found.blocks)
    assert {tuple(turn.side for turn in block.turns) for block in found.blocks} <= {("base", "candidate"), ("candidate", "base")}
    (note,) = [event for event in events if isinstance(event, Note)]
    assert "after the other" in note.text
