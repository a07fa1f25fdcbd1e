"""The source's own metric on this machine. Cached until the artifact, the runtime, or what the evaluation reads changes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgedeploy.cache import key_of
from edgedeploy.domain.measurement import MetricResult
from edgedeploy.domain.recipe import Floors
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.stages.export import Prepared, unchanged
from edgedeploy.stages.host_run import Workplace, answer_here
from edgedeploy.stages.progress import emitter
from edgedeploy.worker.job import Evaluated, EvaluateJob


def evaluate(prepared: Prepared, bundle: RunnerBundle, identity: str, workplace: Workplace) -> MetricResult | None:
    """The metric by PyTorch and by the artifact, run by ``bundle``; None if the source has none.

    Raises:
        ModelError: the user's evaluation fails.
        RunnerError: the artifact cannot be run on its inputs.
    """
    artifact, run, folder = prepared.artifact, prepared.run, Path(prepared.folder)
    cache, project_file = workplace.cache, workplace.project_file
    if not artifact.metric:
        return None
    key = key_of("evaluate", 1, folder.name, identity)  # the folder's name is the key of the export, the source's code in it
    known = cache.read("evaluations", key, Evaluated)
    if known is not None and unchanged(known.dependencies, cache):
        return known.result
    with cache.scratch() as scratch:
        job = EvaluateJob(
            project_root=str(project_file.parent),
            project_file=str(project_file),
            model_name=run.model_name,
            model=run.model,
            subject=f"{run.model_name} as {run.lane.id}",
            inputs=artifact.methods[0].inputs,
            outputs=artifact.methods[0].outputs,
            folder=str(scratch),
        )
        found = workplace.workers.evaluate(
            job,
            lambda batches: answer_here(artifact, folder, bundle, batches, scratch),
            log=cache.log(f"{key[:8]}-{run.model_name}-evaluation"),
            emit=emitter(workplace.sink, "verify", run.label),
        )
    cache.write("evaluations", key, msgspec.json.encode(found))
    return found.result


def metric_complaint(metric: MetricResult | None, floors: Floors) -> str:
    """What falls short, as a sentence; empty when the metric is accepted, not asked for, or not there."""
    if metric is None:
        return ""
    if metric.value is None or metric.drop is None:
        return f"{metric.metric} is no number with the artifact's outputs, and {metric.reference:.4g} with PyTorch's"
    if floors.max_metric_drop is None or metric.drop <= floors.max_metric_drop:
        return ""
    way = "falls" if metric.higher_is_better else "rises"
    return (
        f"{metric.metric} {way} by {metric.drop:.4g}, from {metric.reference:.4g} to {metric.value:.4g}: "
        f"more than {floors.max_metric_drop:g}"
    )
