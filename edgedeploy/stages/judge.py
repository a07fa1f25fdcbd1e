"""Judge: pass, fail or inconclusive, from the samples and what the project accepts. Pure."""

from __future__ import annotations

from itertools import chain

from edgedeploy.agreement import complaints
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.measurement import Measurement, unsteady
from edgedeploy.domain.mode_figures import SustainedFigures, ThroughputFigures
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
    with PyTorch on the device is judged like on the host. A budget is for runs of its own mode; what it says of another
    one's is told.
    """
    failures = [f"on the device: {text}" for text in complaints(measurement.agreement, floors_of(run.recipe))]
    same_mode = run.budget.mode == run.policy.mode
    told = [] if same_mode else _not_judged(run)
    unclear: list[str] = []
    failures += _too_much(run.budget, measurement) if same_mode else []
    failures += _over("size_mb", run.budget.size_mb, artifact.size_bytes / 1e6)
    if same_mode:
        for key, q in _QUANTILES:
            bound_ms = getattr(run.budget, key)
            if bound_ms is not None:
                _judge_latency(key, q, bound_ms, measurement, failures, unclear)
        _judge_energy(run.budget.energy_mj, measurement.energy, failures, unclear)
        _judge_throughput(run.budget, measurement, failures, unclear)
    if failures:
        return Verdict(status="fail", reasons=(*failures, *unclear, *told))
    return Verdict(status="inconclusive" if unclear else "pass", reasons=(*unclear, *told))


def _not_judged(run: PlannedRun) -> list[str]:
    bounds = [
        name for name in Budget.__struct_fields__ if name not in {"mode", "size_mb"} and getattr(run.budget, name) is not None
    ]
    text = f"{', '.join(bounds)}: not judged, this budget is for mode {run.budget.mode} and the run was of mode {run.policy.mode}"
    return [text] if bounds else []


def _groups(measurement: Measurement) -> list[tuple[int, ...]]:
    """Latencies that are alike in ways that those of another group are not: of a process; of all that ran at the same time."""
    groups = [process.latency_ns for process in measurement.processes]
    figures = measurement.mode_figures
    if not isinstance(figures, ThroughputFigures):
        return groups
    at_once = figures.instances
    return [tuple(chain.from_iterable(groups[first : first + at_once])) for first in range(0, len(groups), at_once)]


def _judge_throughput(budget: Budget, measurement: Measurement, failures: list[str], unclear: list[str]) -> None:
    bound, figures = budget.throughput_per_s, measurement.mode_figures
    if bound is None or not isinstance(figures, ThroughputFigures):
        return
    found = figures.per_second
    seen = f"throughput_per_s: {found.mean:.4g} (95 % interval {found.ci_low:.4g} to {found.ci_high:.4g})"
    if found.ci_low >= bound:
        return
    if found.ci_high >= bound:
        unclear.append(f"{seen} does not settle a budget of {bound:g}; measure more processes")
    elif excuse := excuse_of(measurement.environment):
        unclear.append(f"{seen} is below {bound:g}, but {excuse}")
    else:
        failures.append(f"{seen} is below the budget of {bound:g}")


def _judge_latency(
    key: str, q: float, bound_ms: float, measurement: Measurement, failures: list[str], unclear: list[str]
) -> None:
    groups = _groups(measurement)
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
    elif excuse := _excuse(measurement):
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


def _excuse(measurement: Measurement) -> str:
    """Throttling excuses nothing where minutes of work were asked for: it is what they show."""
    return "" if isinstance(measurement.mode_figures, SustainedFigures) else excuse_of(measurement.environment)


def _over(key: str, bound: float | None, value: float) -> list[str]:
    return [f"{key}: {value:.3f} is above the budget of {bound:g}"] if bound is not None and value > bound else []


def _too_much(budget: Budget, measurement: Measurement) -> list[str]:
    loads = [process.load_ns for process in measurement.processes]
    peak_mb = max(process.peak_rss_bytes for process in measurement.processes) / 1e6
    return _over("load_ms", budget.load_ms, quantile(loads, 0.5) / 1e6) + _over("peak_rss_mb", budget.peak_rss_mb, peak_mb)
