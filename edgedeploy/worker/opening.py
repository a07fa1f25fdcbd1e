"""The first half of every job: the user's model, loaded and compressed, while what it reads is recorded."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from edgedeploy import registry
from edgedeploy.domain.project import LanguageConfig
from edgedeploy.exporters.lasting import lasting_imports
from edgedeploy.ports import Emit
from edgedeploy.source import LoadedModel
from edgedeploy.worker.job import Dependencies, ExportJob, ProfileJob
from edgedeploy.worker.language import is_language, load_language, named_files
from edgedeploy.worker.loading import load
from edgedeploy.worker.tracing import Trace


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model after its compress steps. ``parameters`` were counted before them. The recording goes on until it is closed."""

    model: LoadedModel
    parameters: int
    trace: Trace
    job: ExportJob | ProfileJob

    def close(self) -> Dependencies:
        """End the recording: everything the model read."""
        return self.trace.stop(_named_files(self.job))


def open_model(job: ExportJob | ProfileJob, emit: Emit) -> Opened:
    """Import torch, load the model, compress it.

    Raises:
        EdgedeployError: of kinds Config, Model, Compress.
    """
    emit("importing torch")
    with lasting_imports():
        importlib.import_module("torch")
    trace = Trace()
    trace.start()
    emit("loading the model")
    model = load_language(job) if is_language(job) else load(job)
    parameters = _parameters(model)
    for step in job.compress:
        emit(f"compressing: {step.use}")
        model = registry.compressor(step.use).compress(model, step.settings, emit)
    return Opened(model=model, parameters=parameters, trace=trace, job=job)


def _parameters(model: LoadedModel) -> int:
    """How many weights the methods have between them: one that they share counts once."""
    return sum({id(p): p.numel() for method in model.methods for p in method.module.parameters()}.values())


def _named_files(job: ExportJob | ProfileJob) -> tuple[Path, ...]:
    """Files the project file names: the source itself, and what the user says it depends on."""
    root = Path(job.project_root)
    if is_language(job):
        own = named_files(root / job.model.source, job.model.language or LanguageConfig(), root)
        return (*own, *(root / name for name in job.model.files))
    place = job.model.source if job.model.source.endswith(".pt2") else job.model.source.rpartition(":")[0]
    return tuple(root / name for name in (place, *job.model.files))
