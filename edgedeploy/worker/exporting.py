"""The export job: load, compress and record PyTorch's answers once; then, per lane, convert and write ``artifact.json``."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgedeploy import registry
from edgedeploy.deploy.digest import content_sha256, entries_of
from edgedeploy.domain.artifact import ARTIFACT_FILE, Artifact, Method
from edgedeploy.domain.measurement import LayerOutput
from edgedeploy.errors import ExportError, ModelError
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.lasting import keep_what_is_left
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.ports import Emit, ExportedMethod, ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel
from edgedeploy.worker.golden import Cases, by_shape, write_golden
from edgedeploy.worker.job import Done, ExportJob
from edgedeploy.worker.language import listen, write_language
from edgedeploy.worker.loading import call_user
from edgedeploy.worker.memory import peak_rss_bytes, reset_peak_rss
from edgedeploy.worker.opening import open_model

if TYPE_CHECKING:
    from torch import Tensor


class Loaded:
    """A job's model, loaded, compressed, and run once on its golden inputs. Exports it by one order after the other.

    Raises:
        EdgedeployError: of kinds Config, Model, Compress.
    """

    def __init__(self, job: ExportJob, emit: Emit) -> None:
        started = time.monotonic()
        self._job = job
        opened = open_model(job, emit)
        self._model, self._parameters = opened.model, opened.parameters
        self._metric = self._model.evaluation.metric if self._model.evaluation else ""
        self._layers: tuple[LayerOutput, ...] = ()
        if job.layers:
            from edgedeploy.exporters.layers import with_layers

            emit("finding the layers")
            self._model, self._layers = with_layers(self._model, "PyTorch")
        emit("running PyTorch on the golden inputs")
        self._golden = [by_shape(method, _answers(method, self._model, job)) for method in self._with_bounds(emit)]
        language = self._model.language
        self._said = None if language is None else listen(self._model, language)
        self._dependencies = opened.close()
        self._load_seconds = time.monotonic() - started

    def _with_bounds(self, emit: Emit) -> tuple[LoadedMethod, ...]:
        """The methods, of those with dimensions that move with golden inputs at the bounds too."""
        methods = self._model.methods
        if self._job.layers or self._model.language or all(method.dynamic_shapes is None for method in methods):
            return methods
        from edgedeploy.exporters.tracing import trace
        from edgedeploy.worker.bounds import inputs_at_bounds

        emit("tracing with torch.export")
        return tuple(
            replace(method, golden_inputs=(*method.golden_inputs, *inputs_at_bounds(traced)))
            for method, traced in zip(self._model.methods, trace(self._model, "PyTorch"), strict=True)
        )

    def export(self, number: int, emit: Emit) -> Done:
        """Do one order. Its folder then holds the artifact, ``golden/`` and ``artifact.json``.

        Raises:
            EdgedeployError: of kinds Model, Export, MissingTool.
        """
        started = time.monotonic()
        keep_what_is_left()  # of the lanes before
        reset_peak_rss()
        job, order = self._job, self._job.orders[number]
        folder = Path(order.folder)
        exporter = registry.exporter(order.lane.exporter)
        request = ExportRequest(
            lane=order.lane,
            os=job.os,
            min_os=job.min_os,
            compute_units=job.compute_units,
            runtime_versions=job.runtime_versions,
            ethos_u=job.ethos_u,
            folder=str(folder),
        )
        emit(f"importing the SDK of {exporter.name}")
        exported = exporter.export(self._model, request, emit)
        entries = entries_of(folder / exported.entry)
        artifact = Artifact(
            model=job.model_name,
            recipe=order.recipe,
            lane=order.lane,
            format=exporter.format,
            entry=exported.entry,
            sha256=content_sha256(entries, exported.entry),
            size_bytes=sum(entry.size_bytes for entry in entries),
            files=entries,
            methods=self._methods(exported.methods, folder, f"{job.model_name} as {order.lane.id}"),
            operators=exported.operators,
            delegate_graphs=exported.delegate_graphs,
            language=write_language(folder, self._model.language, self._said) if self._model.language and self._said else None,
            parameters=self._parameters,
            weight_dtypes=_weight_dtypes(self._model),
            metric=self._metric,
            toolchain={
                name: importlib.metadata.version(name) for name in (*exporter.toolchain(), *exporter.compilers(order.lane))
            },
            inspection=exported.inspection,
            load_seconds=round(self._load_seconds, 3),
            export_seconds=round(time.monotonic() - started, 3),
            peak_export_rss_bytes=peak_rss_bytes(),
        )
        (folder / ARTIFACT_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(artifact)))
        return Done(order=number, artifact=artifact, dependencies=self._dependencies, layers=self._layers)

    def _methods(self, exported: Sequence[ExportedMethod], folder: Path, where: str) -> tuple[Method, ...]:
        wanted = [method.name for method in self._model.methods]
        if [method.name for method in exported] != wanted:
            raise ExportError(
                "the export has other methods than the model",
                where=where,
                seen=f"{', '.join(method.name for method in exported)}; the model has {', '.join(wanted)}",
                next_step="choose a format that holds several methods, or deploy each as a model of its own",
            )
        return tuple(_method(method, groups, folder, where) for method, groups in zip(exported, self._golden, strict=True))


def _weight_dtypes(model: LoadedModel) -> tuple[str, ...]:
    weights = (weight for method in model.methods for weight in method.module.parameters())
    return tuple(sorted({str(weight.dtype).removeprefix("torch.") for weight in weights if weight.is_floating_point()}))


def _method(exported: ExportedMethod, groups: Sequence[Cases], folder: Path, where: str) -> Method:
    given = [len(exported.inputs), len(exported.outputs)]
    wanted = [len(groups[0].inputs[0]), len(groups[0].answers[0])]
    if given != wanted:
        raise ExportError(
            "the export has another number of inputs and outputs than the model",
            where=where,
            seen=f"{given[0]} inputs and {given[1]} outputs; the model has {wanted[0]} and {wanted[1]}",
            next_step="remove inputs that forward does not use and outputs that are inputs passed through",
        )
    return Method(
        name=exported.name,
        entry=exported.entry,
        inputs=exported.inputs,
        outputs=exported.outputs,
        golden=tuple(
            write_golden(folder, f"{exported.name}-{number}", group, exported.inputs, exported.outputs)
            for number, group in enumerate(groups)
        ),
    )


def _answers(method: LoadedMethod, model: LoadedModel, job: ExportJob) -> list[tuple[Tensor, ...]]:
    where = f"{job.project_file}: models.{job.model_name}.source"
    outputs = call_user(
        "the model's forward raised on its own inputs",
        lambda: run_eagerly(method.module, method.golden_inputs),
        root=model.user_root,
        where=where,
        next_step="check the shapes and dtypes of example_inputs and golden_inputs against what forward expects, and that"
        " forward works at the bounds of dynamic_shapes",
    )
    answers = [flatten_outputs(output) for output in outputs]
    _require_repeatable(method, answers[0], where)
    for number, case in enumerate(answers):
        for index, answer in enumerate(case):
            if answer.numel() and (bool(answer.isnan().any()) or not bool(answer.isfinite().any())):
                raise ModelError(
                    f"PyTorch's own output {index} is NaN or infinite on golden input {number}",
                    where=where,
                    next_step="give golden_inputs on which the model works: nothing can be compared with NaN",
                )
    return answers


def _require_repeatable(method: LoadedMethod, answer: tuple[Tensor, ...], where: str) -> None:
    """Refuse a model that answers otherwise when it is asked again: dropout that is always on, noise, sampling."""
    import torch

    (again,) = run_eagerly(method.module, method.golden_inputs[:1])
    for index, (one, other) in enumerate(zip(answer, flatten_outputs(again), strict=True)):
        if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ModelError(
                "PyTorch itself answers differently when the same input is given again",
                where=where,
                seen=f"output {index} of {method.name}",
                next_step="switch off what is random in forward (F.dropout(x, training=self.training)), or make noise an input",
            )
