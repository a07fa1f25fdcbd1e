"""Preflight: what every run would be and what stands in its way, from the models' profiles. Converts nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.cache import Cache
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.plan import ModelFacts, Obstacle, PlanLine
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import Lane, Target
from edgedeploy.errors import EdgedeployError
from edgedeploy.obstacles import obstacles, verdict
from edgedeploy.prediction import predict
from edgedeploy.stages.export import cached_export
from edgedeploy.stages.plan import PlannedRun, missing_distributions
from edgedeploy.stages.profile import cached_profile
from edgedeploy.stages.runner_choice import runtimes_for
from edgedeploy.stages.verify import was_verified

Form = tuple[str, bytes]
"""What a profile holds for: a model with its compress steps."""
Profiled = ModelProfile | EdgedeployError | None
"""The profile of a form, what stood in the way of one, or None: nobody has counted yet."""


def form_of(run: PlannedRun) -> Form:
    """The form of a run's model."""
    return run.model_name, msgspec.json.encode(run.recipe.compress)


def one_per_form(runs: Sequence[PlannedRun]) -> dict[Form, PlannedRun]:
    """The first run of every form."""
    first: dict[Form, PlannedRun] = {}
    for run in runs:
        first.setdefault(form_of(run), run)
    return first


def model_facts(runs: Sequence[PlannedRun], profiles: Mapping[Form, Profiled]) -> tuple[ModelFacts, ...]:
    """Every form in short."""
    return tuple(_facts(run, profiles[form]) for form, run in one_per_form(runs).items())


def foresee(
    runs: Sequence[PlannedRun],
    target: Target,
    project_file: Path,
    cache: Cache,
    profiles: Mapping[Form, Profiled],
    host_memory_bytes: int | None,
) -> tuple[PlanLine, ...]:
    """One line per run. Cheap: no SDK is imported, and nothing is started."""
    return tuple(_line(run, target, project_file, cache, profiles[form_of(run)], host_memory_bytes) for run in runs)


def export_peak_bytes(runs: Sequence[PlannedRun], target: Target, project_file: Path, cache: Cache) -> int:
    """What one worker that does ``runs`` is predicted to take; 0 for what is cached already, or was never counted."""
    peaks = [0]
    for run in runs:
        profiled = cached_profile(run, project_file, cache)
        if profiled is not None and cached_export(run, target, project_file, cache) is None:
            footprint = registry.exporter(run.lane.exporter).footprint(profiled, run.lane)
            peaks.append(footprint.export_peak_bytes if footprint else 0)
    return max(peaks)


def _line(
    run: PlannedRun, target: Target, project_file: Path, cache: Cache, profiled: Profiled, host_memory_bytes: int | None
) -> PlanLine:
    cached = cached_export(run, target, project_file, cache)
    predicted = None
    if isinstance(profiled, ModelProfile):
        footprint = registry.exporter(run.lane.exporter).footprint(profiled, run.lane)
        predicted = predict(footprint, profiled, target, run.policy) if footprint else None
    found = tuple(_before_all(run, target, profiled, exported=cached is not None))
    if predicted is not None:
        # What is exported already needs no memory here, and has a size.
        free_bytes = None if cached else host_memory_bytes
        known = msgspec.structs.replace(predicted, size_bytes=cached.artifact.size_bytes) if cached else predicted
        found += obstacles(known, run.budget, target, free_bytes)
    return PlanLine(
        model=run.model_name,
        recipe=run.recipe_name,
        lane=run.lane,
        export_cached=cached is not None,
        verify_cached=cached is not None and was_verified(cached, cache),
        size_bytes=cached.artifact.size_bytes if cached else None,
        runtimes=runtimes_for(run.lane, target),
        predicted=predicted,
        obstacles=found,
        fits=verdict(found, predicted),
    )


def _before_all(run: PlannedRun, target: Target, profiled: Profiled, *, exported: bool) -> Iterator[Obstacle]:
    """What needs no prediction: missing SDKs, a model that cannot be traced or that the lane refuses, nothing to run it."""
    if isinstance(profiled, EdgedeployError):
        yield Obstacle(what=profiled.what, where=profiled.where, next_step=profiled.next_step)
    if not exported:
        yield from _lacking(run.lane)
        if isinstance(profiled, ModelProfile):
            yield from registry.exporter(run.lane.exporter).refusals(profiled, run.lane, target)
    if target.runtimes and not runtimes_for(run.lane, target):
        yield Obstacle(
            what=f"the target names no runtime for .{registry.exporter(run.lane.exporter).format}",
            next_step="add one to `runtimes` in the target file",
        )


def _lacking(lane: Lane) -> Iterator[Obstacle]:
    exporter = registry.exporter(lane.exporter)
    missing = missing_distributions(lane.exporter)
    if missing:
        yield Obstacle(
            what=f"not installed: {', '.join(missing)}",
            next_step=f"pip install 'edgedeploy[{exporter.extra}]', or export elsewhere and push with --bundle",
        )
    lacking = exporter.lacking(lane)
    if lacking is not None:
        yield Obstacle(what=f"missing: {lacking.what}", next_step=lacking.how)


def _facts(run: PlannedRun, profiled: Profiled) -> ModelFacts:
    facts = ModelFacts(model=run.model_name, compressed_by=tuple(step.use for step in run.recipe.compress))
    if isinstance(profiled, EdgedeployError):
        return msgspec.structs.replace(facts, error=Failure.of(profiled))
    if profiled is None:
        return facts
    return msgspec.structs.replace(
        facts,
        parameters=profiled.parameters,
        macs=profiled.macs,
        operators=sum(sum(method.operators.values()) for method in profiled.methods),
        weight_bytes=profiled.weight_bytes,
        weight_bytes_by_kind=profiled.weight_bytes_by_kind(),
        activation_bytes=profiled.activation_bytes,
        state_bytes=profiled.state_bytes,
    )
