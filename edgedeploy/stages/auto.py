"""The automatic lane: a few candidates are tried, and the cheapest that meets accuracy and budget is chosen. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from edgedeploy.domain.result import RunResult
from edgedeploy.domain.target import Lane
from edgedeploy.domain.verdict import Verdict

# From the one that is usually fastest to the one that is surely right; more would cost minutes each and seldom win.
_PRECISIONS = ("int8", "fp32")
_FAMILIES = 2


def candidates(offered: Sequence[Lane]) -> tuple[Lane, ...]:
    """The lanes to try: int8 and fp32 of the first two backends that have them, int8 first."""
    backends = list(dict.fromkeys((lane.exporter, lane.backend) for lane in offered))
    pairs = [
        [lane for lane in offered if (lane.exporter, lane.backend) == backend and lane.precision in _PRECISIONS]
        for backend in backends
    ]
    few = [lane for pair in [pair for pair in pairs if pair][:_FAMILIES] for lane in pair]
    return tuple(sorted(few, key=lambda lane: _PRECISIONS.index(lane.precision)))


def settle(runs: Sequence[RunResult], automatic: Collection[tuple[str, str]]) -> tuple[RunResult, ...]:
    """The same runs; of the candidates for one model on one device the chosen one says why, the others are passed over.

    Args:
        runs: results, in any order; candidates of one automatic recipe differ in their lanes.
        automatic: pairs of model and recipe name that are automatic.

    A candidate qualifies when it passed, or, where nothing was measured, when it was exported and verified. The fastest by
    p50 is chosen; where nothing was measured, the smallest. Where none qualifies, all keep their own verdicts. A gate
    disqualifies nobody: what became slower would be passed over for what always was.
    """
    settled = list(runs)
    for key in automatic:
        mine = [index for index, run in enumerate(runs) if (run.model, run.recipe) == key]
        best_of = {device: best([runs[i] for i in mine if runs[i].device in {device, ""}]) for device in _devices(runs, mine)}
        for index in mine:
            run = runs[index]
            bests = [best_of[run.device]] if run.device in best_of else list(best_of.values())
            if None in bests:
                continue
            tried = [runs[i] for i in mine if runs[i].device in {run.device, ""}]
            settled[index] = _chosen(run, tried) if any(run is best for best in bests) else _passed_over(run)
    return tuple(settled)


def _devices(runs: Sequence[RunResult], mine: Sequence[int]) -> set[str]:
    """The devices that candidates came to; an empty name where there is none. What failed before was one for each of them."""
    return {runs[index].device for index in mine if runs[index].device} or {""}


def best(tried: Sequence[RunResult]) -> RunResult | None:
    """Which of the candidates on one device is chosen; None where none qualifies."""
    fit = [run for run in tried if _qualifies(run)]
    return min(fit, key=_cost) if fit else None


def _qualifies(run: RunResult) -> bool:
    if run.ungated is not None:  # it was measured, and an error is its gate's
        return run.ungated.status == "pass"
    return run.error is None and run.verdict.status in {"pass", "unmeasured"}


def _cost(run: RunResult) -> tuple[int, int]:
    """Measured before unmeasured; then nanoseconds, or bytes."""
    if run.latency_ns is not None:
        return (0, run.latency_ns.p50)
    return (1, run.artifact.size_bytes if run.artifact is not None else 0)


def _chosen(best: RunResult, tried: Sequence[RunResult]) -> RunResult:
    ranked = sorted(tried, key=lambda run: (run.error is not None, _cost(run)))
    what = "fastest" if best.latency_ns is not None else "smallest"
    reason = f"chosen: the {what} of {len(tried)} that were tried: " + "; ".join(map(_told, ranked))
    return msgspec.structs.replace(best, verdict=Verdict(status=best.verdict.status, reasons=(*best.verdict.reasons, reason)))


def _passed_over(run: RunResult) -> RunResult:
    return msgspec.structs.replace(run, verdict=Verdict(status="passed over", reasons=run.verdict.reasons))


def _told(run: RunResult) -> str:
    if run.error is not None:
        return f"{run.lane.id}: {run.error.what}"
    cost = f"p50 {run.latency_ns.p50 / 1e6:.3f} ms" if run.latency_ns is not None else ""
    if not cost and run.artifact is not None:
        cost = f"{run.artifact.size_bytes / 1e6:.2f} MB"
    return f"{run.lane.id} {cost}" + (f" ({run.verdict.status})" if run.verdict.status in {"fail", "inconclusive"} else "")
