"""Profile: what the models are made of, counted in a worker process, or found in the cache."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgedeploy import __version__, registry
from edgedeploy.cache import Cache, key_of
from edgedeploy.domain.events import Finished, Sink, Started
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.stages.export import unchanged
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.progress import emitter
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import Profiled, ProfileJob

_STAGE_VERSION = 3


def cached_profile(run: PlannedRun, project_file: Path, cache: Cache) -> ModelProfile | None:
    """The profile of a run's model, if it is in the cache and nothing it depends on has changed."""
    known = cache.read("profiles", _key(run, project_file), Profiled)
    return known.profile if known is not None and unchanged(known.dependencies, cache) else None


def profile(run: PlannedRun, project_file: Path, cache: Cache, workers: Workers, sink: Sink) -> ModelProfile:
    """The profile of a run's model by its compress steps. Cost when it is not cached: loading it, and ``torch.export``.

    Raises:
        EdgedeployError: of kinds Config, Model, Compress, Export.
    """
    sink(Started(stage="profile", subject=run.model_name))
    known = cached_profile(run, project_file, cache)
    found = known or _profile_now(run, project_file, cache, workers, sink)
    text = f"{found.parameters:,} parameters, {found.macs:,} multiply-accumulates"
    sink(Finished(stage="profile", subject=run.model_name, cached=known is not None, text=text))
    return found


def _profile_now(run: PlannedRun, project_file: Path, cache: Cache, workers: Workers, sink: Sink) -> ModelProfile:
    key = _key(run, project_file)
    job = ProfileJob(
        project_root=str(project_file.parent),
        project_file=str(project_file),
        model_name=run.model_name,
        model=run.model,
        compress=run.recipe.compress,
    )
    log = cache.log(f"{key[:8]}-{run.model_name}-profile")
    answer = workers.profile(job, log=log, emit=emitter(sink, "profile", run.model_name))
    cache.write("profiles", key, msgspec.json.encode(answer))
    return answer.profile


def _key(run: PlannedRun, project_file: Path) -> str:
    compressors = [(step, registry.origin("compressors", step.use)) for step in run.recipe.compress]
    place = str(project_file.parent.resolve())
    return key_of(("profile", _STAGE_VERSION, __version__), place, run.model_name, run.model, compressors)
