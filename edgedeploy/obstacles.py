"""What stands in the way of a run, before a minute is spent on it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.plan import Fits, Obstacle, Prediction
from edgedeploy.domain.recipe import Budget
from edgedeploy.domain.target import Target

_SIZE_ERROR = 0.05
_EXPORT_MEMORY_ERROR = 0.25
# A phone or a board runs more than our process: what is left of its memory is less than what is sold.
_USUAL_SHARE = 0.5


def obstacles(prediction: Prediction, budget: Budget, target: Target, host_memory_bytes: int | None) -> tuple[Obstacle, ...]:
    """Where a prediction goes against the target, the budget, or this machine; certain only beyond the prediction's error."""
    return (
        *_in_memory(prediction, target),
        *_in_budget(prediction, budget),
        *_on_this_machine(prediction, host_memory_bytes),
    )


def verdict(found: tuple[Obstacle, ...], prediction: Prediction | None) -> Fits:
    """Whether a run fits, in one word."""
    if any(obstacle.certain for obstacle in found):
        return "no"
    if found:
        return "doubtful"
    return "unknown" if prediction is None else "yes"


def _in_memory(prediction: Prediction, target: Target) -> Iterator[Obstacle]:
    there = target.soc.memory_bytes
    if there is None:
        return
    needed, least = prediction.device_bytes, prediction.device_least_bytes
    if least > there:
        yield Obstacle(
            what=f"needs at least {_mb(least)} of memory; {target.title} has {_mb(there)}",
            next_step="choose a precision with smaller weights, or a smaller model",
        )
    elif needed > there * _USUAL_SHARE:
        yield Obstacle(
            what=f"needs {_mb(needed)} of {target.title}'s {_mb(there)} of memory, which the system and others share",
            next_step="close what else runs there, or choose a precision with smaller weights",
            certain=False,
        )


def _in_budget(prediction: Prediction, budget: Budget) -> Iterator[Obstacle]:
    size, device = prediction.size_bytes, prediction.device_bytes
    for key, predicted, least in (
        ("size_mb", size * (1 + _SIZE_ERROR), size * (1 - _SIZE_ERROR)),
        ("peak_rss_mb", device, prediction.device_least_bytes),
    ):
        bound_mb = getattr(budget, key)
        if bound_mb is not None and predicted / 1e6 > bound_mb:
            certain = least / 1e6 > bound_mb
            yield Obstacle(
                what=f"{key}: {least / 1e6:.3g} to {predicted / 1e6:.3g} predicted, the budget is {bound_mb:g}",
                next_step="choose a precision with smaller weights, or raise the budget" if certain else "",
                certain=certain,
            )
    least_ns = prediction.roofline.least_ns
    for key in ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms"):
        bound_ms = getattr(budget, key)
        if bound_ms is not None and least_ns is not None and least_ns / 1e6 > bound_ms:
            yield Obstacle(
                what=f"{key}: {bound_ms:g} cannot be met: even at the target's peak rates one call takes {least_ns / 1e6:.3g} ms",
                next_step="choose a lower precision, a smaller model, or a faster target",
            )


def _on_this_machine(prediction: Prediction, free_bytes: int | None) -> Iterator[Obstacle]:
    needed = prediction.export_peak_bytes
    if free_bytes is not None and needed > free_bytes:
        yield Obstacle(
            what=f"the export takes {_mb(needed)} of memory here, and {_mb(free_bytes)} are free",
            next_step="close other programs, or export on a larger machine",
            certain=needed * (1 - _EXPORT_MEMORY_ERROR) > free_bytes,
        )


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
