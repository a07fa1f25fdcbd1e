"""Export: from planned runs to artifacts in the cache. The same inputs give the same key, and then nothing is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgedeploy import __version__, registry
from edgedeploy.cache import Cache, key_of
from edgedeploy.decoding import decode
from edgedeploy.domain.artifact import ARTIFACT_FILE, Artifact
from edgedeploy.domain.events import Finished, Sink, Started
from edgedeploy.domain.target import Target
from edgedeploy.errors import ConfigError, EdgedeployError
from edgedeploy.stages.plan import PlannedRun, toolchain_versions
from edgedeploy.stages.progress import emitter
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import ALL_ORDERS, Dependencies, ExportJob, Order

STAGE_VERSION = 4
_OURS = Path(__file__).resolve().parents[1]


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A planned run with its artifact. ``folder`` is on this machine; ``cached`` means nothing was converted just now."""

    run: PlannedRun
    artifact: Artifact
    folder: str
    cached: bool


def export(
    runs: Sequence[PlannedRun], target: Target, project_file: Path, cache: Cache, workers: Workers, sink: Sink
) -> Iterator[tuple[PlannedRun, Prepared | EdgedeployError]]:
    """Artifacts of ``runs``, which are of one model by the same compress steps; each as soon as it is there.

    What is in the cache is taken from there; the rest is made in one worker process, which loads the model once. A run that
    fails comes back with its error: of kinds Model, Compress, Export (the SDK refuses, with the operator and its source
    line), Config (the source names something that is not there).
    """
    missing = []
    for run in runs:
        sink(Started(stage="export", subject=run.label))
        prepared = cached_export(run, target, project_file, cache)
        if prepared is None:
            missing.append(run)
        else:
            _tell(prepared, sink)
            yield run, prepared
    if not missing:
        return
    for run, outcome in _export_now(missing, target, project_file, cache, workers, sink):
        if isinstance(outcome, Prepared):
            _tell(outcome, sink)
        yield run, outcome


def _tell(prepared: Prepared, sink: Sink) -> None:
    artifact = prepared.artifact
    text = f"{artifact.size_bytes / 1e6:.2f} MB in {artifact.export_seconds:.0f} s"
    sink(Finished(stage="export", subject=prepared.run.label, cached=prepared.cached, text=text))


def cached_export(run: PlannedRun, target: Target, project_file: Path, cache: Cache) -> Prepared | None:
    """The artifact, if it is in the cache and nothing it depends on has changed. Cheap: no SDK is imported."""
    dependencies = cache.read("sources", _source_key(run, project_file), Dependencies)
    if dependencies is None or not unchanged(dependencies, cache):
        return None
    folder = cache.find("exports", _export_key(run, target, project_file, dependencies))
    if folder is None:
        return None
    artifact = whole_artifact(folder, cache)
    if artifact is None:
        cache.drop(folder)
        return None
    return Prepared(run=run, artifact=artifact, folder=str(folder), cached=True)


def read_artifact(folder: Path) -> Artifact:
    """The artifact of an exported folder.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    file = folder / ARTIFACT_FILE
    try:
        return decode(file.read_bytes(), Artifact)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError("not an exported artifact", where=str(file), seen=str(error), next_step="export it again") from None


def _export_now(
    runs: Sequence[PlannedRun], target: Target, project_file: Path, cache: Cache, workers: Workers, sink: Sink
) -> Iterator[tuple[PlannedRun, Prepared | EdgedeployError]]:
    with cache.scratch() as scratch:
        folders = [scratch / str(number) for number in range(len(runs))]
        for folder in folders:
            folder.mkdir()
        job = export_job(runs, folders, target, project_file)
        log = cache.log(log_name(runs[0], target, project_file))
        emits = [emitter(sink, "export", run.label) for run in runs]

        def tell(order: int, text: str) -> None:
            for emit in emits if order == ALL_ORDERS else emits[order : order + 1]:
                emit(text)

        for number, outcome in workers.run(job, log=log, tell=tell):
            run = runs[number]
            if isinstance(outcome, EdgedeployError):
                yield run, outcome
                continue
            kept = cache.keep(folders[number], "exports", _export_key(run, target, project_file, outcome.dependencies))
            cache.write("sources", _source_key(run, project_file), msgspec.json.encode(outcome.dependencies))
            yield run, Prepared(run=run, artifact=read_artifact(kept), folder=str(kept), cached=False)


def export_job(
    runs: Sequence[PlannedRun], folders: Sequence[Path], target: Target, project_file: Path, *, layers: bool = False
) -> ExportJob:
    """What a worker is told: runs of one model by the same compress steps, each into its folder."""
    first = runs[0]
    return ExportJob(
        project_root=str(project_file.parent),
        project_file=str(project_file),
        model_name=first.model_name,
        model=first.model,
        compress=first.recipe.compress,
        os=target.os,
        min_os=target.min_os,
        compute_units=target.compute_units,
        runtime_versions=target.runtime_versions,
        ethos_u=target.ethos_u,
        orders=tuple(
            Order(lane=run.lane, recipe=run.recipe_name, folder=str(folder)) for run, folder in zip(runs, folders, strict=True)
        ),
        layers=layers,
    )


def log_name(run: PlannedRun, target: Target, project_file: Path) -> str:
    """Where what the SDKs print about a run goes, in the cache."""
    place = key_of(str(project_file.parent.resolve()), target.name)[:8]
    return f"{place}-{run.model_name}-{run.recipe_name}-{run.lane.id}"


def whole_artifact(folder: Path, cache: Cache) -> Artifact | None:
    """The artifact of an exported folder, if every file it names is there and is what it was when it was made."""
    try:
        artifact = read_artifact(folder)
        entries = (*artifact.files, *artifact.golden_files())
        sized = all((folder / entry.path).stat().st_size == entry.size_bytes for entry in entries)
        return artifact if sized and all(cache.sha256(folder / entry.path) == entry.sha256 for entry in entries) else None
    except (ConfigError, OSError):
        return None


def files_read(run: PlannedRun, project_file: Path, cache: Cache) -> tuple[Path, ...]:
    """What a run's source read when it was last exported; of installed distributions and of edgedeploy nothing."""
    dependencies = cache.read("sources", _source_key(run, project_file), Dependencies)
    read = map(Path, dependencies.files) if dependencies is not None else ()
    return tuple(file for file in read if not file.is_relative_to(_OURS))


def unchanged(dependencies: Dependencies, cache: Cache) -> bool:
    """Whether every file and distribution is what it was."""
    import importlib.metadata

    try:
        return all(importlib.metadata.version(name) == version for name, version in dependencies.distributions.items()) and all(
            cache.sha256(Path(name)) == sha256 for name, sha256 in dependencies.files.items()
        )
    except (OSError, importlib.metadata.PackageNotFoundError):
        return False


def _source_key(run: PlannedRun, project_file: Path) -> str:
    return key_of("source", STAGE_VERSION, str(project_file.parent.resolve()), run.model_name, run.model)


def _export_key(run: PlannedRun, target: Target, project_file: Path, dependencies: Dependencies) -> str:
    root = str(project_file.parent.resolve()) + os.sep
    compressors = [(step, registry.origin("compressors", step.use)) for step in run.recipe.compress]
    return key_of(
        ("export", STAGE_VERSION, __version__),
        run.model_name,
        run.model,
        run.recipe_name,
        compressors,
        (run.lane, registry.origin("exporters", run.lane.exporter)),
        (target.os, target.min_os, target.compute_units, target.runtime_versions, target.ethos_u),
        toolchain_versions(run.lane),
        # By name and digest: two files that were swapped are not the same files.
        {name.removeprefix(root): sha256 for name, sha256 in dependencies.files.items()},
        dependencies.distributions,
    )
