"""What of a comparison needs no device: sizes, and what a gate makes of a run's verdict."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import pytest
from unit.stages.planned import planned, prepared

from edgedeploy.domain.failure import Failure
from edgedeploy.domain.result import Verification
from edgedeploy.domain.verdict import Verdict
from edgedeploy.errors import RunnerError
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.push import Terms
from edgedeploy.stages.ring import Opponents, Ring, blank
from edgedeploy.stages.run_result import Ready, blank_run, gated_run

RING = Ring(host=cast("Aboard", None), terms=Terms(project="project", device="desk"), rules=Rules(), sink=lambda _event: None)


def opponents(tmp_path: Path, base_bytes: int, candidate_bytes: int, *, size: float | None = None) -> Opponents:
    sides = []
    for number, count in enumerate((base_bytes, candidate_bytes)):
        place = tmp_path / str(number)
        place.mkdir()
        sides.append(Ready(prepared=prepared(place, planned(), content=bytes(count)), host=Verification()))
    base, candidate = sides
    return Opponents(base=base, candidate=candidate, base_origin="baseline", candidate_origin="now", bounds=(), size=size)


@pytest.mark.parametrize(("candidate_bytes", "verdict"), [(1030, "pass"), (1031, "fail"), (10, "pass")])
def test_a_gate_of_size_alone_runs_nothing(tmp_path: Path, candidate_bytes: int, verdict: str) -> None:
    found = RING.contest(opponents(tmp_path, 1000, candidate_bytes, size=0.03))
    assert (found.verdict, found.decided[0].figure, found.ratio) == (verdict, "size", candidate_bytes / 1000)
    assert found.ci_low == found.ratio == found.ci_high
    assert found.reasons == (("size: 1,031 bytes instead of 1,000",) if verdict == "fail" else ())


def test_a_gate_runs_nothing_where_the_file_is_the_baselines(tmp_path: Path) -> None:
    pair = msgspec.structs.replace(opponents(tmp_path, 5, 5), bounds=(("latency_p50", 0.0),))
    found = RING.contest(pair)
    assert (found.verdict, found.reasons, found.ratio, found.blocks) == ("pass", ("the same file",), None, 0)


@pytest.mark.parametrize(
    ("own", "gate", "both"),
    [
        ("pass", "pass", "pass"),
        ("pass", "inconclusive", "inconclusive"),
        ("pass", "fail", "fail"),
        ("fail", "pass", "fail"),
        ("fail", "inconclusive", "fail"),
        ("inconclusive", "fail", "fail"),
        ("inconclusive", "error", "error"),
    ],
)
def test_the_worse_of_both_verdicts_is_the_runs(tmp_path: Path, own: str, gate: str, both: str) -> None:
    run = blank_run(planned(), "project", "bench", "desk")
    run = msgspec.structs.replace(run, verdict=msgspec.convert({"status": own, "reasons": ["of its own"]}, Verdict))
    error = Failure.of(RunnerError("it crashed")) if gate == "error" else None
    contest = msgspec.structs.replace(blank("desk", opponents(tmp_path, 1, 1)), verdict=gate, reasons=("slower",), error=error)
    found = gated_run(run, contest)
    assert found.verdict.status == both
    assert found.verdict.reasons == ("of its own", *(("against its baseline: slower",) if gate != "pass" else ()))
    assert found.error == error


def test_a_gate_whose_size_fails_already_runs_nothing(tmp_path: Path) -> None:
    """No figure that is measured for minutes would make it pass."""
    pair = msgspec.structs.replace(opponents(tmp_path, 1000, 1031, size=0.03), bounds=(("latency_p50", 0.02),))
    found = RING.contest(pair)
    assert (found.verdict, found.reasons) == ("fail", ("size: 1,031 bytes instead of 1,000",))
    assert [one.figure for one in found.decided] == ["size"]
