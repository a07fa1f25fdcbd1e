"""What a ``.tflite`` file consists of, as plain values. Reading imports the SDK; the types do not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ai_edge_litert import schema_py_generated as schema_types


class TensorUse(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor that an operator reads or writes.

    ``type`` is the schema's word (``FLOAT32``, ``INT4``). ``scales`` counts the scales of its quantization, 0 for none;
    ``block_size`` is 0 unless there is one per block of values.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    constant: bool = False
    scales: int = 0
    block_size: int = 0
    size_bytes: int = 0


class OperatorUse(msgspec.Struct, frozen=True, kw_only=True):
    """An operator of a file with the version it asks for. ``inputs`` has None for one that is left out."""

    operator: str
    version: int
    inputs: tuple[TensorUse | None, ...]
    outputs: tuple[TensorUse, ...]

    @property
    def name(self) -> str:
        """The name of what it computes."""
        return self.outputs[0].name if self.outputs else ""

    def input(self, number: int) -> TensorUse | None:
        """One input; None where there is none."""
        return self.inputs[number] if number < len(self.inputs) else None


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A graph of a file in the order of execution; ``signatures`` are the names it can be called by."""

    signatures: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorUse, ...]


def read_graphs(content: bytes) -> tuple[Graph, ...]:
    """Every graph of a file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    return tuple(_graph(model, number) for number in range(len(model.subgraphs)))


def operator_name(model: schema_types.ModelT, opcode_index: int) -> str:
    """``CONV_2D`` and so on; a custom operator's own name."""
    code = model.operatorCodes[opcode_index]
    # Files of old hold codes below 127 in the deprecated field only.
    name = _operator_names()[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return code.customCode.decode() if name == "CUSTOM" and code.customCode else name


@cache
def _operator_names() -> Mapping[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


@cache
def _type_names() -> Mapping[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


def _graph(model: schema_types.ModelT, number: int) -> Graph:
    graph = model.subgraphs[number]
    tensors = [_tensor(model, graph.tensors[index], index) for index in range(len(graph.tensors))]
    return Graph(
        signatures=tuple(s.signatureKey.decode() for s in model.signatureDefs or () if s.subgraphIndex == number),
        inputs=tuple(int(index) for index in graph.inputs),
        outputs=tuple(int(index) for index in graph.outputs),
        operators=tuple(
            OperatorUse(
                operator=operator_name(model, operator.opcodeIndex),
                version=int(model.operatorCodes[operator.opcodeIndex].version),
                inputs=tuple(tensors[index] if index >= 0 else None for index in operator.inputs),
                outputs=tuple(tensors[index] for index in operator.outputs),
            )
            for operator in graph.operators
        ),
    )


def _tensor(model: schema_types.ModelT, tensor: schema_types.TensorT, index: int) -> TensorUse:
    from ai_edge_litert import schema_py_generated as schema

    buffer = model.buffers[tensor.buffer]
    # What the quantizer wrote lies behind the flatbuffer, at an offset.
    size_bytes = len(buffer.data) if buffer.data is not None else int(buffer.size)
    quantization = tensor.quantization
    scales = 0 if quantization is None or quantization.scale is None else len(quantization.scale)
    details = None if quantization is None else quantization.details
    block_size = int(details.blockSize) if isinstance(details, schema.BlockwiseQuantizationT) else 0
    return TensorUse(
        index=index,
        name=(tensor.name or b"").decode(),
        type=_type_names()[tensor.type],
        shape=tuple(int(extent) for extent in tensor.shape) if tensor.shape is not None else (),
        constant=size_bytes > 0,
        scales=max(scales, 1) if block_size else scales,
        block_size=block_size,
        size_bytes=size_bytes,
    )
