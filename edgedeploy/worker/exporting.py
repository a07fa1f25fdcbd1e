"""The export job: load, compress, record PyTorch's answers, convert, write ``artifact.json``."""

from __future__ import annotations

import importlib
import importlib.metadata
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgedeploy import registry
from edgedeploy.deploy.digest import content_sha256, entries_of
from edgedeploy.domain.artifact import ARTIFACT_FILE, Artifact, Golden, TensorSpec
from edgedeploy.domain.release import FileEntry
from edgedeploy.errors import ExportError, ModelError
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.ports import Emit, Exported, ExportRequest
from edgedeploy.source import LoadedModel
from edgedeploy.worker.job import Done, ExportJob
from edgedeploy.worker.loading import call_user, load
from edgedeploy.worker.tracing import Trace

if TYPE_CHECKING:
    from torch import Tensor


def export(job: ExportJob, emit: Emit) -> Done:
    """Do the job. The folder then holds the artifact, ``golden/`` and ``artifact.json``.

    Raises:
        EdgedeployError: of kinds Config, Model, Compress, Export, MissingTool.
    """
    started = time.monotonic()
    folder = Path(job.folder)
    emit("importing torch")
    importlib.import_module("torch")

    trace = Trace()
    trace.start()
    emit("loading the model")
    model = load(job)
    parameters = sum(p.numel() for p in model.module.parameters())
    for step in job.compress:
        emit(f"compressing: {step.use}")
        model = registry.compressor(step.use).compress(model, step.settings, emit)
    emit("running PyTorch on the golden inputs")
    answers = _answers(model, job)
    dependencies = trace.stop(_named_files(job))
    exporter = registry.exporter(job.lane.exporter)
    emit(f"importing the SDK of {exporter.name}")
    exported = exporter.export(model, ExportRequest(lane=job.lane, os=job.os, min_os=job.min_os, folder=str(folder)), emit)
    golden = _write_golden(folder, exported, model.golden_inputs, answers, job)
    entries = entries_of(folder / exported.entry)
    artifact = Artifact(
        model=job.model_name,
        recipe=job.recipe,
        lane=job.lane,
        format=exporter.format,
        entry=exported.entry,
        sha256=content_sha256(entries, exported.entry),
        size_bytes=sum(entry.size_bytes for entry in entries),
        files=entries,
        inputs=exported.inputs,
        outputs=exported.outputs,
        golden=golden,
        parameters=parameters,
        toolchain={name: importlib.metadata.version(name) for name in exporter.toolchain()},
        inspection=exported.inspection,
        export_seconds=round(time.monotonic() - started, 3),
        peak_export_rss_bytes=_peak_rss_bytes(),
    )
    (folder / ARTIFACT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(artifact)))
    return Done(artifact=artifact, dependencies=dependencies)


def _named_files(job: ExportJob) -> tuple[Path, ...]:
    """Files the project file names: the source itself, and what the user says it depends on."""
    place = job.model.source if job.model.source.endswith(".pt2") else job.model.source.rpartition(":")[0]
    return tuple(Path(job.project_root, name) for name in (place, *job.model.files))


def _answers(model: LoadedModel, job: ExportJob) -> list[tuple[Tensor, ...]]:
    where = f"{job.project_file}: models.{job.model_name}.source"
    outputs = call_user(
        "the model's forward raised on its own inputs",
        lambda: run_eagerly(model.module, model.golden_inputs),
        root=model.user_root,
        where=where,
        next_step="check the shapes and dtypes of example_inputs and golden_inputs against what forward expects",
    )
    answers = [flatten_outputs(output) for output in outputs]
    for number, case in enumerate(answers):
        for index, answer in enumerate(case):
            if answer.numel() and (bool(answer.isnan().any()) or not bool(answer.isfinite().any())):
                raise ModelError(
                    f"PyTorch's own output {index} is NaN or infinite on golden input {number}",
                    where=where,
                    next_step="give golden_inputs on which the model works: nothing can be compared with NaN",
                )
    return answers


def _write_golden(
    folder: Path,
    exported: Exported,
    inputs: Sequence[tuple[Tensor, ...]],
    answers: Sequence[tuple[Tensor, ...]],
    job: ExportJob,
) -> Golden:
    """Write inputs and answers in the artifact's own dtypes (integers may be narrower there, floats never are)."""
    given = [len(exported.inputs), len(exported.outputs)]
    wanted = [len(inputs[0]), len(answers[0])]
    if given != wanted:
        raise ExportError(
            "the export has another number of inputs and outputs than the model",
            where=f"{job.model_name} as {job.lane.id}",
            seen=f"{given[0]} inputs and {given[1]} outputs; the model has {wanted[0]} and {wanted[1]}",
            next_step="remove inputs that forward does not use and outputs that are inputs passed through",
        )
    target = folder / "golden"
    target.mkdir()
    return Golden(
        cases=len(inputs),
        inputs=tuple(
            _write(target / f"input_{i}.bin", spec, [case[i] for case in inputs]) for i, spec in enumerate(exported.inputs)
        ),
        references=tuple(
            _write(target / f"reference_{i}.bin", spec, [case[i] for case in answers]) for i, spec in enumerate(exported.outputs)
        ),
    )


def _write(file: Path, spec: TensorSpec, tensors: Sequence[Tensor]) -> FileEntry:
    import numpy as np

    arrays = [tensor.detach().cpu().numpy().astype(spec.dtype).reshape(spec.shape) for tensor in tensors]
    file.write_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    (entry,) = entries_of(file)
    return msgspec.structs.replace(entry, path=f"{file.parent.name}/{file.name}")


def _peak_rss_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
