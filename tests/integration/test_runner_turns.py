"""Two processes of a runner that take turns."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.runner_starts import LIMIT_S, QUICK, Ran, format_of, input_arguments

from edgedeploy.runners.document import RunnerDocument

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(sys.platform != "linux", reason="native runners are built on Linux"),
]

_TURN_S = 0.004
# As in docs/runner-protocol.md; "$@" stands for both, and a side may have other arguments in its own file.
_BOTH = """
cd "$1"; shift
mkfifo to_a to_b
"$@" --side A --output-dir a $(cat a.arguments) <to_a 3>to_b >a.json 2>a.log & a=$!
"$@" --side B --output-dir b $(cat b.arguments) 3>to_a <to_b >b.json 2>b.log & b=$!
wait "$a"; echo $? >a.code
wait "$b"; echo $? >b.code
"""


@dataclass(frozen=True)
class Duel:
    """Both sides of one model, in a folder of their own."""

    start: Sequence[str]
    model: Sequence[str]
    folder: Path

    def run(self, *options: str, a: str = "", b: str = "") -> tuple[Ran, Ran]:
        for side, own in (("a", a), ("b", b)):
            (self.folder / side).mkdir()
            (self.folder / f"{side}.arguments").write_text(own, encoding="utf-8")
        argv = ["sh", "-c", _BOTH, "sh", str(self.folder), *self.start, *self.model, *options]
        subprocess.run(argv, check=True, timeout=LIMIT_S)
        return self._ran("a"), self._ran("b")

    def _ran(self, side: str) -> Ran:
        stdout, stderr, code = ((self.folder / f"{side}.{end}").read_bytes() for end in ("json", "log", "code"))
        return Ran(stdout, stderr, int(code), self.folder / side)


@pytest.fixture
def duel(request: pytest.FixtureRequest, starts: dict[str, list[str]], models: Path, tmp_path: Path) -> Duel:
    runner = request.param
    suffix = format_of(runner)
    model = ["--model", str(models / f"convolution.{suffix}"), *input_arguments(models, "convolution", suffix, tmp_path)]
    return Duel(starts[runner], [*model, "--warmup", "3", "--iterations", "500", "--turn-seconds", str(_TURN_S)], tmp_path)


def _spans(document: RunnerDocument) -> list[tuple[int, int]]:
    """When each turn's timed iterations began, and when they had ended at the earliest."""
    spans, at = [], 0
    for turn in document.turns:
        spans.append((turn.began_ns, turn.began_ns + sum(document.latency_ns[at : at + turn.iterations])))
        at += turn.iterations
    return spans


@pytest.mark.parametrize("duel", QUICK, indirect=True)
@pytest.mark.parametrize("schedule", ["ABBABAAB", "BBA", "AB"])
def test_turns_never_overlap_and_come_in_the_order_asked_for(duel: Duel, schedule: str) -> None:
    a, b = (ran.document for ran in duel.run("--turns", schedule))
    assert (len(a.turns), len(b.turns)) == (schedule.count("A"), schedule.count("B"))
    assert len(a.warmup_ns) == len(b.warmup_ns) == 3
    spans = sorted([*((*span, "A") for span in _spans(a)), *((*span, "B") for span in _spans(b))])
    assert "".join(side for _, _, side in spans) == schedule
    assert all(ended <= began for (_, ended, _), (began, _, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("duel", QUICK, indirect=True)
def test_a_turn_ends_when_its_time_is_over(duel: Duel) -> None:
    most = 100_000
    a, b = duel.run("--turns", "ABAB", "--iterations", str(most))
    for document in (a.document, b.document):
        assert all(1 < turn.iterations < most for turn in document.turns)
        longest_ns = max(document.latency_ns)
        assert all(ended - began <= _TURN_S * 1e9 + longest_ns for began, ended in _spans(document))
    assert (a.output(0) == b.output(0)).all()


@pytest.mark.parametrize("duel", ["native-tflite", "agent-tflite"], indirect=True)
def test_no_turn_has_more_iterations_than_are_allowed(duel: Duel) -> None:
    a, b = duel.run("--turns", "ABAB", "--iterations", "2")
    assert [turn.iterations for turn in a.document.turns + b.document.turns] == [2, 2, 2, 2]


@pytest.mark.parametrize("duel", QUICK, indirect=True)
@pytest.mark.parametrize("broken", ["a", "b"])
def test_when_one_fails_the_other_ends_too_and_says_that_it_was_not_its_own_fault(duel: Duel, broken: str) -> None:
    ran = dict(zip("ab", duel.run("--turns", "ABAB", **{broken: "--method none_of_that_name"}), strict=True))
    assert ran[broken].failure["stage"] == "load"
    (other,) = set(ran) - {broken}
    assert ran[other].failure["stage"] == "turn"


@pytest.mark.parametrize("duel", ["native-tflite", "agent-tflite"], indirect=True)
@pytest.mark.parametrize("side", ["A", "B"])
def test_without_another_process_there_are_no_turns(duel: Duel, side: str) -> None:
    argv = ["sh", "-c", 'exec "$@" 3>/dev/null', "sh", *duel.start, *duel.model, "--output-dir", str(duel.folder)]
    done = subprocess.run(
        [*argv, "--turns", "AB", "--side", side], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False
    )
    failure = Ran(done.stdout, done.stderr, done.returncode, duel.folder).failure
    assert (done.returncode, failure["stage"]) == (1, "turn")
    assert "other side ended" in failure["message"]
