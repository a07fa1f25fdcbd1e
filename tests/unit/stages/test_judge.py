"""Verdicts from samples that are made up so that the right answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from unit.stages.planned import INT8, artifact, planned

from edgedeploy.agreement import compare
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.estimate import Estimate
from edgedeploy.domain.measurement import (
    Agreement,
    DeviceFacts,
    Environment,
    Measurement,
    OutputAgreement,
    ProcessSamples,
    WarmUp,
)
from edgedeploy.domain.mode_figures import SustainedFigures, ThroughputFigures
from edgedeploy.domain.recipe import Budget, Floors
from edgedeploy.domain.target import Lane, MeasurePolicy
from edgedeploy.domain.verdict import Verdict
from edgedeploy.stages.judge import judge
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stats.repetitions import estimate

EXACT = Agreement(max_abs_error=0.0, cosine=1.0, sqnr_db=None, exact=True)
MS = 1_000_000


def measured(
    *groups: Sequence[int],
    agreement: Agreement = EXACT,
    throttled: tuple[bool | None, bool | None] = (False, False),
    load_ns: Sequence[int] = (),
    rss_bytes: Sequence[int] = (),
    warm_ups: Sequence[WarmUp] = (),
) -> Measurement:
    """One process per group of latencies in ns."""
    processes = tuple(
        ProcessSamples(
            load_ns=load_ns[i] if load_ns else MS,
            first_inference_ns=1,
            warmup_ns=(),
            latency_ns=tuple(group),
            peak_rss_bytes=rss_bytes[i] if rss_bytes else 1,
            rss_before_load_bytes=1,
            warm_up=warm_ups[i] if warm_ups else None,
        )
        for i, group in enumerate(groups)
    )
    before, after = (DeviceFacts(os="linux", throttled=state) for state in throttled)
    environment = Environment(
        runner="r", engine="e", engine_version="1", threads=1, cpus=(), clock="c", clock_resolution_ns=1, host="h",
        before=before, after=after,
    )  # fmt: skip
    return Measurement(processes=processes, device_sha256="0", environment=environment, agreement=agreement)


def steady(ms: float, count: int = 100) -> list[int]:
    return [int(ms * MS) + i for i in range(count)]


def verdict(
    folder: Path, measurement: Measurement, run: PlannedRun | None = None, *, size_bytes: int = 1, **budget: float
) -> Verdict:
    run = run or planned(budget=Budget(**budget))
    return judge(run, artifact(folder, run, size_bytes=size_bytes), measurement)


def test_without_budgets_a_run_that_agrees_passes_with_nothing_to_say(tmp_path: Path) -> None:
    assert verdict(tmp_path, measured(steady(1))) == Verdict(status="pass", reasons=())


@pytest.mark.parametrize("key", ["latency_p50_ms", "latency_p90_ms"])
def test_a_latency_budget_is_kept_or_missed_when_the_interval_is_on_one_side(tmp_path: Path, key: str) -> None:
    groups = [steady(2), steady(2.1), steady(2)]
    assert verdict(tmp_path, measured(*groups), **{key: 2.2}).status == "pass"
    missed = verdict(tmp_path, measured(*groups), **{key: 1.8})
    assert missed.status == "fail"
    assert missed.reasons[0].startswith(f"{key}: 2.")
    assert missed.reasons[0].endswith("is above the budget of 1.8 ms")


def test_an_interval_that_straddles_the_budget_settles_nothing(tmp_path: Path) -> None:
    found = verdict(tmp_path, measured(steady(1), steady(2), steady(3)), latency_p50_ms=2.0)
    assert found.status == "inconclusive"
    assert "does not settle a budget of 2 ms" in found.reasons[0]
    assert "95 % interval 0.000 to 4.4" in found.reasons[0]


def test_a_bound_that_is_met_exactly_is_kept(tmp_path: Path) -> None:
    assert verdict(tmp_path, measured([2 * MS] * 100), latency_p50_ms=2.0).status == "pass"


def test_too_few_samples_beyond_a_quantile_are_said_to_be_too_few(tmp_path: Path) -> None:
    few = verdict(tmp_path, measured(steady(1), steady(1), steady(1)), latency_p99_ms=50)
    assert few == Verdict(
        status="inconclusive", reasons=("latency_p99_ms: 300 samples are too few to judge it, about 1000 are needed",)
    )
    assert verdict(tmp_path, measured(steady(1, 600), steady(1, 600)), latency_p99_ms=50).status == "pass"
    assert verdict(tmp_path, measured(steady(1, 19)), latency_p50_ms=50).status == "inconclusive"
    assert verdict(tmp_path, measured(steady(1, 20)), latency_p50_ms=50).status == "pass"


def test_that_processes_never_became_steady_is_told_with_a_missed_budget(tmp_path: Path) -> None:
    restless = measured(
        steady(2), steady(2), warm_ups=(WarmUp(iterations=9, steady_since=None), WarmUp(iterations=9, steady_since=0))
    )
    missed = verdict(tmp_path, restless, latency_p50_ms=1.0)
    assert missed.status == "fail"
    assert "(1 of 2 processes never became steady) is above the budget" in missed.reasons[0]
    assert verdict(tmp_path, restless, latency_p50_ms=3.0) == Verdict(status="pass")


@pytest.mark.parametrize("throttled", [(True, False), (False, True), (True, None)])
def test_a_budget_missed_by_a_throttled_device_is_inconclusive_and_one_kept_is_kept(
    tmp_path: Path, throttled: tuple[bool | None, bool | None]
) -> None:
    hot = measured(steady(2), steady(2), throttled=throttled)
    missed = verdict(tmp_path, hot, latency_p50_ms=1.0)
    assert missed.status == "inconclusive"
    assert "throttled" in missed.reasons[0]
    assert verdict(tmp_path, hot, latency_p50_ms=3.0).status == "pass"


def test_a_device_that_does_not_say_whether_it_is_throttled_is_judged(tmp_path: Path) -> None:
    assert verdict(tmp_path, measured(steady(2), throttled=(None, None)), latency_p50_ms=1.0).status == "fail"


def test_throttling_excuses_neither_size_nor_memory(tmp_path: Path) -> None:
    hot = measured(steady(2), throttled=(True, True), rss_bytes=(9_000_000,))
    found = verdict(tmp_path, hot, size_bytes=3_000_000, latency_p50_ms=1.0, size_mb=2, peak_rss_mb=8)
    assert found.status == "fail"
    assert [reason.partition(":")[0] for reason in found.reasons] == ["peak_rss_mb", "size_mb", "latency_p50_ms"]


def test_load_is_judged_by_the_median_and_memory_by_the_largest_process(tmp_path: Path) -> None:
    groups = [steady(1)] * 3
    loads = (1 * MS, 2 * MS, 90 * MS)
    assert verdict(tmp_path, measured(*groups, load_ns=loads), load_ms=2).status == "pass"
    assert verdict(tmp_path, measured(*groups, load_ns=loads), load_ms=1.9).reasons == (
        "load_ms: 2.000 is above the budget of 1.9",
    )
    memory = (1_000_000, 5_000_000, 2_000_000)
    assert verdict(tmp_path, measured(*groups, rss_bytes=memory), peak_rss_mb=5).status == "pass"
    assert verdict(tmp_path, measured(*groups, rss_bytes=memory), peak_rss_mb=4.9).status == "fail"


def energy(mean: float, low: float, high: float) -> Energy:
    found = Estimate(mean=mean, standard_error=0.1, ci_low=low, ci_high=high, repetitions=5)
    return Energy(source="a meter", per_iteration_mj=found)


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (energy(8, 7.5, 8.5), "pass", ""),
        (energy(12, 11, 13), "fail", "12.000 mJ (95 % interval 11.000 to 13.000) is above the budget of 10 mJ"),
        (energy(10.1, 9, 11), "inconclusive", "does not settle a budget of 10 mJ"),
        (Energy(absent="no meter"), "inconclusive", "no meter"),
        (None, "inconclusive", "not measured"),
    ],
)
def test_energy_is_judged_by_its_interval_and_never_passes_unmeasured(
    tmp_path: Path, found: Energy | None, status: str, words: str
) -> None:
    told = verdict(tmp_path, msgspec.structs.replace(measured(steady(1)), energy=found), energy_mj=10)
    assert told.status == status
    assert words in "".join(told.reasons)


def test_a_megabyte_is_a_million_bytes(tmp_path: Path) -> None:
    assert verdict(tmp_path, measured(steady(1)), size_bytes=1_000_000, size_mb=1).status == "pass"
    assert verdict(tmp_path, measured(steady(1)), size_bytes=1_000_001, size_mb=1).status == "fail"


def agreed(*, max_abs_error: float, cosine: float, sqnr_db: float) -> Agreement:
    output = OutputAgreement(name="y", max_abs_error=max_abs_error, cosine=cosine, sqnr_db=sqnr_db, exact=False)
    return Agreement(max_abs_error=max_abs_error, cosine=cosine, sqnr_db=sqnr_db, exact=False, outputs=(output,))


def test_the_device_is_held_to_the_floors_of_the_recipe(tmp_path: Path) -> None:
    far = agreed(max_abs_error=0.5, cosine=0.9, sqnr_db=12.0)
    found = verdict(tmp_path, measured(steady(1), agreement=far))
    assert found.status == "fail"
    assert found.reasons == (
        "on the device: SQNR 12.0 dB is below 60 dB",
        "on the device: cosine 0.90000 is below 0.9999",
    )
    assert verdict(tmp_path, measured(steady(1), agreement=far), planned(accept=Floors(min_sqnr_db=10))).status == "pass"
    strict = planned(accept=Floors(max_abs_error=0.4))
    assert verdict(tmp_path, measured(steady(1), agreement=far), strict).reasons == (
        "on the device: largest error 0.5 is above 0.4",
    )
    rough = agreed(max_abs_error=0.5, cosine=0.99, sqnr_db=16.0)
    assert verdict(tmp_path, measured(steady(1), agreement=rough), planned(lane=INT8)).status == "pass"
    assert verdict(tmp_path, measured(steady(1), agreement=rough)).status == "fail"


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_nan_on_the_device_fails_whatever_the_floors_say(tmp_path: Path, odd: float) -> None:
    agreement = compare([np.array([1.0, odd])], [np.array([1.0, 2.0])])
    unknown = planned(lane=Lane(exporter="e", backend="b", precision="fp4"))  # a precision without floors of its own
    found = verdict(tmp_path, measured(steady(1), agreement=agreement), unknown)
    assert found == Verdict(status="fail", reasons=("on the device: the output is NaN or infinite where PyTorch's is not",))


def test_nan_where_pytorch_has_nan_too_is_agreement(tmp_path: Path) -> None:
    agreement = compare([np.array([np.nan, 2.0])], [np.array([np.nan, 2.0])])
    assert verdict(tmp_path, measured(steady(1), agreement=agreement)).status == "pass"


def test_a_failure_outweighs_what_is_unclear_and_both_are_told(tmp_path: Path) -> None:
    found = verdict(tmp_path, measured(steady(2)), latency_p50_ms=1.0, latency_p99_ms=9.0)
    assert found.status == "fail"
    assert [reason.partition(":")[0] for reason in found.reasons] == ["latency_p50_ms", "latency_p99_ms"]


def test_a_hundred_samples_are_enough_for_a_p90(tmp_path: Path) -> None:
    """0.1 has no exact binary form; counting must not stumble over that."""
    assert verdict(tmp_path, measured(steady(1, 100)), latency_p90_ms=2).status == "pass"
    assert verdict(tmp_path, measured(steady(1, 99)), latency_p90_ms=2).status == "inconclusive"


BURST = MeasurePolicy(mode="burst")


def test_a_budget_is_for_runs_of_its_own_mode_and_that_is_told(tmp_path: Path) -> None:
    slow = measured(steady(9), steady(9), steady(9), load_ns=[9 * MS] * 3)
    run = planned(budget=Budget(latency_p50_ms=1, load_ms=1), policy=BURST)
    found = verdict(tmp_path, slow, run)
    assert found.status == "pass"
    (reason,) = found.reasons
    assert reason == "latency_p50_ms, load_ms: not judged, this budget is for mode single and the run was of mode burst"
    own = planned(budget=Budget(mode="burst", latency_p50_ms=1), policy=BURST)
    assert verdict(tmp_path, slow, own).status == "fail"
    assert verdict(tmp_path, slow, planned(budget=Budget(mode="burst", latency_p50_ms=1))).status == "pass"


def test_the_size_is_the_same_in_every_mode(tmp_path: Path) -> None:
    found = verdict(tmp_path, measured(steady(1)), planned(budget=Budget(size_mb=1), policy=BURST), size_bytes=2 * 10**6)
    assert found == Verdict(status="fail", reasons=("size_mb: 2.000 is above the budget of 1",))
    small = verdict(tmp_path, measured(steady(1)), planned(budget=Budget(size_mb=1), policy=BURST))
    assert small == Verdict(status="pass")


@pytest.mark.parametrize(
    ("bound", "status"),
    [(900.0, "pass"), (1000.0, "inconclusive"), (1100.0, "fail")],
)
def test_throughput_is_judged_by_its_interval_from_below(tmp_path: Path, bound: float, status: str) -> None:
    figures = ThroughputFigures(instances=2, seconds=1, per_second=estimate([990, 1000, 1010]), instance_p50_ns=(1, 1))
    policy = MeasurePolicy(mode="throughput")
    run = planned(budget=Budget(mode="throughput", throughput_per_s=bound), policy=policy)
    found = verdict(tmp_path, msgspec.structs.replace(measured(*[steady(1)] * 4), mode_figures=figures), run)
    assert found.status == status
    if status != "pass":
        assert "1000 (95 % interval" in found.reasons[0]


def test_instances_of_one_time_are_one_observation(tmp_path: Path) -> None:
    """Two times two instances, and both of the second time slow: two observations that differ, not four."""
    figures = ThroughputFigures(instances=2, seconds=1, per_second=estimate([1, 1]), instance_p50_ns=(1,) * 4)
    groups = [steady(1), steady(1), steady(2), steady(2)]
    policy = MeasurePolicy(mode="throughput")
    run = planned(budget=Budget(mode="throughput", latency_p50_ms=5), policy=policy)
    found = verdict(tmp_path, msgspec.structs.replace(measured(*groups), mode_figures=figures), run)
    assert found.status == "inconclusive"


def test_throttling_is_what_minutes_of_work_are_to_show(tmp_path: Path) -> None:
    hot = measured(steady(2), throttled=(False, True))
    figures = SustainedFigures(seconds=60, windows=(), slowdown=0.1, first_p50_ns=1, last_p50_ns=2, slower_after_s=30.0)
    run = planned(budget=Budget(mode="sustained", latency_p50_ms=1), policy=MeasurePolicy(mode="sustained"))
    assert verdict(tmp_path, msgspec.structs.replace(hot, mode_figures=figures), run).status == "fail"
    assert verdict(tmp_path, hot, planned(budget=Budget(latency_p50_ms=1))).status == "inconclusive"
