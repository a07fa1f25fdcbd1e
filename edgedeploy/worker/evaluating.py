"""The source's own metric, by PyTorch and by an artifact.

The user's function takes a ``predict`` and gives a number. It runs twice: first with PyTorch as ``predict``, while the inputs
of every call are written down; then, when the artifact has been run on them, with a ``predict`` that gives its outputs in
the same order. So the artifact runs by the same runner as everywhere else, in a few processes instead of one per call.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgedeploy.deploy.digest import entries_of
from edgedeploy.domain.artifact import Golden
from edgedeploy.domain.measurement import MetricResult
from edgedeploy.domain.release import FileEntry
from edgedeploy.errors import ModelError
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.signature import flatten_outputs, with_tensors
from edgedeploy.ports import Emit
from edgedeploy.source import Evaluation, LoadedMethod, Predict
from edgedeploy.worker.golden import in_dtype
from edgedeploy.worker.job import Batch, Evaluated, EvaluateJob
from edgedeploy.worker.loading import call_user, load, seed, source_key
from edgedeploy.worker.tracing import Trace

if TYPE_CHECKING:
    from torch import Tensor

_MOST_CALLS = 200  # of one batch: what a runner does in one process, and holds in memory

Shapes = tuple[tuple[int, ...], ...]


def evaluate(job: EvaluateJob, run: Callable[[tuple[Batch, ...]], None], emit: Emit) -> Evaluated:
    """The metric of PyTorch's floating model, before any compression, and of the artifact, which ``run`` executes.

    Raises:
        ModelError: the user's function raises, does not return a number, never predicts, or does not predict on the same
            inputs both times.
    """
    emit("importing torch")
    importlib.import_module("torch")
    trace = Trace()
    trace.start()
    emit("loading the model")
    model = load(job)
    evaluation = model.evaluation
    if evaluation is None:
        raise ModelError("the source has no evaluation any more", where=source_key(job), next_step="export it again")
    emit(f"computing {evaluation.metric} by PyTorch")
    recorded = _Recording(model.main, job)
    reference = _value_of(evaluation, recorded.predict, "PyTorch's model", job)
    dependencies = trace.stop(())
    if not recorded.calls:
        raise ModelError(
            "the evaluation never calls predict",
            where=source_key(job),
            next_step="compute the metric from what predict returns, not from the module itself",
        )
    if not math.isfinite(reference):
        raise ModelError(
            f"{evaluation.metric} of PyTorch's own model is not a number",
            where=source_key(job),
            seen=str(reference),
            next_step="evaluate on data on which the model works",
        )
    emit(f"running the artifact on {len(recorded.calls)} inputs of the evaluation")
    run(recorded.batches())
    emit(f"computing {evaluation.metric} by the artifact")
    replayed = _Replay(recorded, job)
    value = _value_of(evaluation, replayed.predict, "the artifact's outputs", job)
    replayed.expect_end()
    worse = reference - value if evaluation.higher_is_better else value - reference
    known = math.isfinite(value)
    result = MetricResult(
        metric=evaluation.metric,
        higher_is_better=evaluation.higher_is_better,
        reference=reference,
        value=value if known else None,
        drop=worse if known else None,
        calls=len(recorded.calls),
    )
    return Evaluated(result=result, dependencies=dependencies)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of predict: where its inputs and outputs lie, and the form of what the model returned."""

    batch: int
    position: int
    digest: str
    returned: object


@dataclass(kw_only=True)
class _Open:
    """A batch that is being written. ``output_shapes`` are PyTorch's."""

    number: int
    input_shapes: Shapes
    output_shapes: Shapes
    count: int = 0


@dataclass
class _Recording:
    """Computes by PyTorch, and writes down the inputs of every call."""

    method: LoadedMethod
    job: EvaluateJob
    calls: list[_Call] = field(default_factory=list)
    opened: list[_Open] = field(default_factory=list)

    def predict(self, *arguments: object, **named: object) -> object:
        """What the model's forward gives."""
        inputs = _positional(self.method, arguments, named, self.job)
        (output,) = run_eagerly(self.method.module, [inputs])
        tensors = flatten_outputs(output)
        batch = self._batch(_shapes(inputs), _shapes(tensors))
        contents = _contents(inputs, self.job)
        for index, content in enumerate(contents):
            with self._file(batch.number, index).open("ab") as file:
                file.write(content)
        returned = with_tensors(output, iter([tensor.to("meta") for tensor in tensors]))
        self.calls.append(_Call(batch=batch.number, position=batch.count, digest=_digest(contents), returned=returned))
        batch.count += 1
        return output

    def batches(self) -> tuple[Batch, ...]:
        return tuple(
            Batch(
                golden=Golden(
                    cases=batch.count,
                    input_shapes=batch.input_shapes,
                    output_shapes=batch.output_shapes,
                    inputs=tuple(self._entry(batch.number, index) for index in range(len(self.job.inputs))),
                    references=(),
                ),
                folder=str(batch.number),
            )
            for batch in self.opened
        )

    def _batch(self, inputs: Shapes, outputs: Shapes) -> _Open:
        for batch in self.opened:
            if (batch.input_shapes, batch.output_shapes) == (inputs, outputs) and batch.count < _MOST_CALLS:
                return batch
        batch = _Open(number=len(self.opened), input_shapes=inputs, output_shapes=outputs)
        Path(self.job.folder, str(batch.number)).mkdir()
        self.opened.append(batch)
        return batch

    def _file(self, batch: int, index: int) -> Path:
        return Path(self.job.folder, str(batch), f"input_{index}.bin")

    def _entry(self, batch: int, index: int) -> FileEntry:
        file = self._file(batch, index)
        (entry,) = entries_of(file)
        return msgspec.structs.replace(entry, path=f"{batch}/{file.name}")


class _Replay:
    """Gives the artifact's outputs, call by call."""

    def __init__(self, recorded: _Recording, job: EvaluateJob) -> None:
        self._recorded = recorded
        self._job = job
        self._next = 0

    def predict(self, *arguments: object, **named: object) -> object:
        """What the artifact gave for these inputs, in the form in which forward returns it."""
        inputs = _positional(self._recorded.method, arguments, named, self._job)
        calls = self._recorded.calls
        if self._next >= len(calls) or calls[self._next].digest != _digest(_contents(inputs, self._job)):
            raise self._differs(f"call {self._next} of predict has other inputs than with PyTorch's model")
        call = calls[self._next]
        self._next += 1
        return with_tensors(call.returned, iter([self._output(call, i) for i in range(len(self._job.outputs))]))

    def expect_end(self) -> None:
        """Complain if the function predicted less often than with PyTorch."""
        if self._next != len(self._recorded.calls):
            raise self._differs(f"{self._next} calls of predict, {len(self._recorded.calls)} with PyTorch's model")

    def _output(self, call: _Call, index: int) -> Tensor:
        import torch

        form = flatten_outputs(call.returned)[index]
        dtype = np.dtype(self._job.outputs[index].dtype)
        file = Path(self._job.folder, str(call.batch), f"output_{index}.bin")
        offset = call.position * form.numel() * dtype.itemsize
        array = np.fromfile(file, dtype=dtype, count=form.numel(), offset=offset)
        return torch.from_numpy(array).reshape(form.shape).to(form.dtype)

    def _differs(self, seen: str) -> ModelError:
        return ModelError(
            "the evaluation does not predict on the same inputs each time",
            where=source_key(self._job),
            seen=seen,
            next_step="give predict the data in one order, with a seed of its own, and never what predict returned before",
        )


def _value_of(evaluation: Evaluation, predict: Predict, whose: str, job: EvaluateJob) -> float:
    import torch

    seed()
    with torch.no_grad():
        value: object = call_user(
            f"the evaluation raised with {whose}",
            lambda: evaluation.function(predict),
            root=job.project_root,
            where=source_key(job),
            next_step="predict takes what forward takes and returns what forward returns; run the function by itself with "
            "the module as predict",
        )
    number = value.item() if isinstance(value, np.generic | torch.Tensor) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ModelError(
            "the evaluation has to return one number", where=source_key(job), seen=f"{type(value).__name__}: {value!r}"[:200]
        )
    return float(number)


def _positional(
    method: LoadedMethod, arguments: tuple[object, ...], named: dict[str, object], job: EvaluateJob
) -> tuple[Tensor, ...]:
    """The inputs in forward's order.

    Raises:
        ModelError: they are not tensors of the example inputs' dtypes and shapes.
    """
    import torch

    try:
        bound = inspect.signature(method.module.forward).bind(*arguments, **named)
    except TypeError as error:
        raise ModelError(
            "predict was called with arguments that forward does not take", where=source_key(job), seen=str(error)
        ) from None
    given = (*bound.args, *bound.kwargs.values())
    example = method.example_inputs
    if len(given) != len(example) or not all(isinstance(tensor, torch.Tensor) for tensor in given):
        raise ModelError(
            "predict takes the tensors that the example inputs have, and nothing else",
            where=source_key(job),
            seen=f"{[type(value).__name__ for value in given]}, the example inputs are {len(example)} tensors",
        )
    tensors = tuple(tensor for tensor in given if isinstance(tensor, torch.Tensor))
    fixed = method.dynamic_shapes is None
    for tensor, like in zip(tensors, example, strict=True):
        if tensor.dtype != like.dtype or tensor.dim() != like.dim() or (fixed and tensor.shape != like.shape):
            raise ModelError(
                "predict was called with another shape or dtype than the artifact takes",
                where=source_key(job),
                seen=f"{tensor.dtype}{list(tensor.shape)} against {like.dtype}{list(like.shape)}",
                next_step="call predict with inputs like the example inputs, or say which dimensions vary (dynamic_shapes)",
            )
    return tensors


def _contents(inputs: tuple[Tensor, ...], job: EvaluateJob) -> list[bytes]:
    return [in_dtype(spec, tensor).tobytes() for spec, tensor in zip(job.inputs, inputs, strict=True)]


def _digest(contents: list[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _shapes(tensors: tuple[Tensor, ...]) -> Shapes:
    return tuple(tuple(int(extent) for extent in tensor.shape) for tensor in tensors)
