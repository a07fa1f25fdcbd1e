"""Reading ``.tflite`` files. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.errors import ExportError
from edgedeploy.exporters.operator_counts import bounded
from edgedeploy.exporters.signature import dtype_name
from edgedeploy.exporters.tflite_graph import operator_name
from edgedeploy.exporters.tflite_operators import Sample


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """A signature as the file declares it, in the order of forward's parameters and of what it returns."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def sample(self, tensors: Sequence[Tensor]) -> Sample:
        """Inputs of a call, by name, in the file's dtypes."""
        return {
            spec.name: np.asarray(tensor.numpy(), dtype=spec.dtype) for spec, tensor in zip(self.inputs, tensors, strict=True)
        }


def signature(content: bytes, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Signature:
    """A signature of the file, with the example's shapes and moving dimensions of ``inputs`` and ``outputs``.

    Of outputs the file declares the example's shape even where it moves; the engine gives the right one.

    Raises:
        ExportError: a dimension of an input that is to move is fixed in the file.
    """
    runner = Interpreter(model_content=content).get_signature_runner(name)
    details = runner.get_input_details()
    read = Signature(inputs=_specs(details, inputs), outputs=_specs(runner.get_output_details(), outputs))
    for spec in read.inputs:
        _require_moving(spec, details[spec.name])
    return read


def inspection(content: bytes) -> dict[str, str]:
    """Facts read back from the file: its operators and how many of its tensors are quantized."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    operators: Counter[str] = Counter()
    tensors = quantized = 0
    for graph in model.subgraphs:
        operators.update(operator_name(model, operator.opcodeIndex) for operator in graph.operators)
        for tensor in graph.tensors:
            tensors += 1
            quantization = tensor.quantization
            quantized += quantization is not None and (quantization.scale is not None or quantization.details is not None)
    return {
        "operators": str(operators.total()),
        "operator kinds": bounded(operators),
        "tensors": str(tensors),
        "quantized tensors": str(quantized),
    }


def _specs(details: Mapping[str, Mapping[str, object]], traced: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    # Inputs that forward does not use are counted by the worker.
    return tuple(_spec(details[spec.name], spec) for spec in traced if spec.name in details)


def _spec(detail: Mapping[str, object], traced: TensorSpec) -> TensorSpec:
    shape = detail["shape"]
    return TensorSpec(
        name=traced.name,
        dtype=dtype_name(np.dtype(detail["dtype"]).name, traced.name),  # type: ignore[call-overload]  # untyped details
        shape=traced.shape if traced.dynamic else tuple(int(extent) for extent in shape),  # type: ignore[attr-defined]
        dynamic=traced.dynamic,
    )


def _require_moving(spec: TensorSpec, detail: Mapping[str, object]) -> None:
    declared = [int(extent) for extent in detail["shape_signature"]]  # type: ignore[attr-defined]  # untyped details
    fixed = [dim.dim for dim in spec.dynamic if declared[dim.dim] != -1]
    if fixed:
        raise ExportError(
            "litert-torch fixed a dimension that is to move",
            where=f"dimension {fixed[0]} of {spec.name}",
            seen=f"{declared[fixed[0]]} for all calls",
            next_step="leave it out of dynamic_shapes for TFLite, or use another lane",
        )
