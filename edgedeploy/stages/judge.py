"""Judge: pass, fail or inconclusive, from the samples and what the project accepts. Pure."""

from __future__ import annotations

from edgedeploy.agreement import complaints
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.measurement import Measurement, unsteady
from edgedeploy.domain.precision import floors_of
from edgedeploy.domain.recipe import Budget
from edgedeploy.domain.verdict import Verdict
from edgedeploy.stages.excuse import excuse_of
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stats import quantile, quantile_interval

_QUANTILES = (("latency_p50_ms", 0.5), ("latency_p90_ms", 0.9), ("latency_p99_ms", 0.99))
_TAIL_SAMPLES = 10  # a quantile needs about this many samples beyond it before its budget can be judged


def judge(run: PlannedRun, artifact: Artifact, measurement: Measurement) -> Verdict:
    """The verdict on one run.

    A latency budget passes or fails when the 95 % interval of its quantile lies on one side of it, and is inconclusive when
    the interval straddles it, or when fewer than ten samples lie beyond the quantile. Throttling makes a latency budget that
    was missed inconclusive (:func:`excuse_of`). An energy budget is judged by its interval in the same way, and is inconclusive
    on a device that does not tell. Processes that never became steady excuse nothing, and are told of. Agreement
    with PyTorch on the device is judged like on the host.
    """
    failures = [f"on the device: {text}" for text in complaints(measurement.agreement, floors_of(run.recipe))]
    failures += _over(run.budget, artifact, measurement)
    unclear: list[str] = []
    for key, q in _QUANTILES:
        bound_ms = getattr(run.budget, key)
        if bound_ms is not None:
            _judge_latency(key, q, bound_ms, measurement, failures, unclear)
    _judge_energy(run.budget.energy_mj, measurement.energy, failures, unclear)
    if failures:
        return Verdict(status="fail", reasons=tuple(failures + unclear))
    return Verdict(status="inconclusive", reasons=tuple(unclear)) if unclear else Verdict(status="pass")


def _judge_latency(
    key: str, q: float, bound_ms: float, measurement: Measurement, failures: list[str], unclear: list[str]
) -> None:
    groups = [process.latency_ns for process in measurement.processes]
    count = sum(map(len, groups))
    needed = round(_TAIL_SAMPLES / (1 - q))
    if count < needed:
        unclear.append(f"{key}: {count} samples are too few to judge it, about {needed} are needed")
        return
    low, high = (value / 1e6 for value in quantile_interval(groups, q))
    seen = f"{quantile([s for group in groups for s in group], q) / 1e6:.3f} ms (95 % interval {low:.3f} to {high:.3f})"
    if restless := unsteady(measurement.processes):
        seen += f" ({restless})"
    if high <= bound_ms:
        return
    if low <= bound_ms:
        unclear.append(f"{key}: {seen} does not settle a budget of {bound_ms:g} ms; measure more processes")
    elif excuse := excuse_of(measurement.environment):
        unclear.append(f"{key}: {seen} is above {bound_ms:g} ms, but {excuse}")
    else:
        failures.append(f"{key}: {seen} is above the budget of {bound_ms:g} ms")


def _judge_energy(bound_mj: float | None, energy: Energy | None, failures: list[str], unclear: list[str]) -> None:
    if bound_mj is None:
        return
    found = energy.per_iteration_mj if energy else None
    if found is None:
        why = energy.absent if energy and energy.absent else "it was not measured"
        unclear.append(f"energy_mj: {why}")
        return
    seen = f"{found.mean:.3f} mJ (95 % interval {found.ci_low:.3f} to {found.ci_high:.3f})"
    if found.ci_low > bound_mj:
        failures.append(f"energy_mj: {seen} is above the budget of {bound_mj:g} mJ")
    elif found.ci_high > bound_mj:
        unclear.append(f"energy_mj: {seen} does not settle a budget of {bound_mj:g} mJ; measure longer (energy_s)")


def _over(budget: Budget, artifact: Artifact, measurement: Measurement) -> list[str]:
    loads = [process.load_ns for process in measurement.processes]
    seen = {
        "load_ms": quantile(loads, 0.5) / 1e6,
        "peak_rss_mb": max(process.peak_rss_bytes for process in measurement.processes) / 1e6,
        "size_mb": artifact.size_bytes / 1e6,
    }
    return [
        f"{key}: {value:.3f} is above the budget of {bound:g}"
        for key, value in seen.items()
        if (bound := getattr(budget, key)) is not None and value > bound
    ]
