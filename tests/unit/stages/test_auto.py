"""Which candidate of an automatic lane is chosen, and what becomes of the others."""

from __future__ import annotations

import msgspec
import pytest
from unit.results.documents import measured_run

from edgedeploy.domain.contest import Contender, Contest
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.result import ArtifactSummary, Latency, PushReport, RunResult
from edgedeploy.domain.target import Lane
from edgedeploy.domain.verdict import Status, Verdict
from edgedeploy.stages.auto import candidates, settle
from edgedeploy.stages.run_result import gated_run

AUTO = {("net", "auto")}


def lane(exporter: str, precision: str, backend: str = "xnnpack") -> Lane:
    return Lane(exporter=exporter, backend=backend, precision=precision)


def ran(
    exporter: str, precision: str, p50: int | None, *, status: Status = "pass", device: str = "phone", size: int = 1
) -> RunResult:
    run = measured_run(model="net", device=device, verdict=Verdict(status=status))
    assert run.artifact is not None
    artifact: ArtifactSummary = msgspec.structs.replace(run.artifact, size_bytes=size)
    latency = None if p50 is None else Latency(samples=(p50,), p50=p50, p90=p50, p99=p50)
    return msgspec.structs.replace(run, recipe="auto", lane=lane(exporter, precision), artifact=artifact, latency_ns=latency)


def failed(exporter: str, precision: str) -> RunResult:
    failure = Failure(kind="VerifyError", exit_code=4, retryable=False, what="too far off", where="", seen="", next_step="")
    return msgspec.structs.replace(
        ran(exporter, precision, None, device="", status="error"), artifact=None, error=failure, verdict=Verdict(status="error")
    )


def report(*runs: RunResult) -> PushReport:
    return PushReport(edgedeploy="0", project="p", target="t", runs=runs)


def test_candidates_are_int8_and_fp32_of_two_backends_int8_first() -> None:
    offered = [
        *(lane("executorch", precision) for precision in ("fp32", "fp16", "int8")),
        *(lane("executorch", precision, "vulkan") for precision in ("fp16",)),
        *(lane("tflite", precision) for precision in ("fp32", "int8", "16x8")),
        *(lane("coreml", precision, "mlprogram") for precision in ("fp32", "int8")),
    ]
    assert candidates(offered) == (
        lane("executorch", "int8"), lane("tflite", "int8"), lane("executorch", "fp32"), lane("tflite", "fp32"),
    )  # fmt: skip
    assert candidates([lane("x", "fp4")]) == ()


def test_the_fastest_that_passes_is_chosen_and_says_what_was_tried() -> None:
    runs = (failed("executorch", "int8"), ran("tflite", "int8", 900), ran("executorch", "fp32", 2_000_000))
    first, second, third = settle(runs, AUTO)
    assert [run.verdict.status for run in (first, second, third)] == ["passed over", "pass", "passed over"]
    (reason,) = second.verdict.reasons
    assert reason == (
        "chosen: the fastest of 3 that were tried: tflite-xnnpack-int8 p50 0.001 ms; executorch-xnnpack-fp32 p50 2.000 ms; "
        "executorch-xnnpack-int8: too far off"
    )
    assert report(first, second, third).exit_code == 0


def test_one_over_its_budget_is_not_chosen_however_fast() -> None:
    fast, slow = settle((ran("executorch", "int8", 1, status="fail"), ran("executorch", "fp32", 5)), AUTO)
    assert (fast.verdict.status, slow.verdict.status) == ("passed over", "pass")


def test_without_a_device_the_smallest_is_chosen() -> None:
    sizes = [ran("executorch", p, None, status="unmeasured", device="", size=s) for p, s in (("int8", 10), ("fp32", 40))]
    small, large = settle(sizes, AUTO)
    assert (small.verdict.status, large.verdict.status) == ("unmeasured", "passed over")


def test_each_device_has_its_own_choice() -> None:
    runs = [
        ran("executorch", "int8", 1, device="a"),
        ran("executorch", "fp32", 2, device="a"),
        ran("executorch", "int8", 4, device="b"),
        ran("executorch", "fp32", 3, device="b"),
    ]
    assert [run.verdict.status for run in settle(runs, AUTO)] == ["pass", "passed over", "passed over", "pass"]


@pytest.mark.parametrize("status", ["fail", "inconclusive"])
def test_where_none_qualifies_all_keep_their_verdicts(status: Status) -> None:
    runs = (ran("executorch", "int8", 1, status=status), failed("tflite", "int8"))
    assert settle(runs, AUTO) == runs
    assert report(*runs).exit_code == 4


def test_other_recipes_are_left_alone() -> None:
    runs = (ran("executorch", "int8", 2), ran("executorch", "fp32", 1))
    assert settle(runs, {("other", "auto")}) == runs


@pytest.mark.parametrize(("verdict", "exit_code"), [("fail", 1), ("inconclusive", 7), ("error", 5)])
def test_the_fastest_is_not_passed_over_because_its_gate_says_that_it_became_slower(verdict: Status, exit_code: int) -> None:
    """The other one always was as slow: to take it would be what the gate is there to prevent."""
    lost = Failure(kind="DeviceLostError", exit_code=5, retryable=True, what="lost", where="", seen="", next_step="")
    error = lost if verdict == "error" else None
    contender = Contender(origin="now", model="net", recipe="auto", lane=lane("x", "int8"), sha256="", size_bytes=1)
    contest = Contest(
        device="phone",
        base=contender,
        candidate=contender,
        verdict=verdict,
        reasons=("slower",),
        error=error,  # type: ignore[arg-type]
    )
    fast, slow = ran("executorch", "int8", 2), ran("executorch", "fp32", 9)
    settled = settle((gated_run(fast, contest), slow), AUTO)
    assert [run.verdict.status for run in settled] == [verdict, "passed over"]
    assert settled[0].verdict.reasons[0] == "against its baseline: slower"
    assert report(*settled).exit_code == exit_code
    over_budget = gated_run(msgspec.structs.replace(fast, verdict=Verdict(status="fail")), contest)
    assert [run.verdict.status for run in settle((over_budget, slow), AUTO)] == ["passed over", "pass"]
