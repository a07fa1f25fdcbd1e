"""Operators that compute sizes from the shapes of a graph's inputs. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

Size = tuple[int, int]
"""One size in a file made at smaller sizes, and in one made at larger ones. Equal for a size that stays."""

Array = NDArray[np.generic]

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.bool_): schema.TensorType.BOOL,
}


class ComputedSizes:
    """Adds tensors to one graph of a model, the one made at smaller sizes, that hold sizes which move.

    Made of those operators that the engine can evaluate while it plans memory, once the inputs' shapes are known: SHAPE,
    STRIDED_SLICE, MUL and CONCATENATION. What is shaped by such a tensor has a size before the graph runs, without which
    LiteRT's compiled models refuse it.
    """

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT, inputs: Sequence[tuple[int, Sequence[Size]]]) -> None:
        """``inputs``: tensors of the graph's inputs, with their sizes."""
        self._model = model
        self._graph = graph
        self._moving = [(tensor, dim, size) for tensor, sizes in inputs for dim, size in enumerate(sizes) if size[0] != size[1]]
        self._single: dict[Size, int] = {}
        self._vectors: dict[tuple[int | None, ...], int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], int] = {}
        self.operators: list[schema.OperatorT] = []
        """What was added, in order. It reads inputs of the graph and constants only, so it may run first."""

    def vector(self, sizes: Sequence[Size], *, one_left_open: bool = False) -> int | None:
        """A tensor with these sizes in int32; None if one of them does not follow from an input's.

        ``one_left_open``: one that does not follow may be -1.
        """
        parts = [self._one(size) for size in sizes]
        if parts.count(None) == 1 and one_left_open:
            parts[parts.index(None)] = self.constant(np.array([-1], np.int32))
        if None in parts:
            return None
        key = tuple(parts)
        if key not in self._vectors:
            self._vectors[key] = self._tensor(schema.TensorType.INT32, [len(parts)], 0)
            self._add("CONCATENATION", parts, self._vectors[key], schema.ConcatenationOptionsT())
        return self._vectors[key]

    def constant(self, values: Array) -> int:
        """A tensor with constant values; one for all that ask for the same."""
        key = (values.dtype.name, values.shape, values.tobytes())
        if key not in self._constants:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            self._constants[key] = self._tensor(_TYPES[values.dtype], values.shape, len(self._model.buffers) - 1)
        return self._constants[key]

    def start_of(self, values: Array, sizes: Sequence[Size]) -> int | None:
        """A tensor with the first ``sizes`` of a constant; None if one of them does not follow from an input's."""
        end = self.vector(sizes)
        if end is None:
            return None
        tensor = self._tensor(_TYPES[values.dtype], [size[0] for size in sizes], 0)
        self._graph.tensors[tensor].shapeSignature = [size[0] if size[0] == size[1] else -1 for size in sizes]
        begin, strides = (self.constant(np.full(len(sizes), number, np.int32)) for number in (0, 1))
        self._add("STRIDED_SLICE", [self.constant(values), begin, end, strides], tensor, schema.StridedSliceOptionsT())
        return tensor

    def opcode(self, name: str) -> int:
        """The index of an operator among the model's."""
        builtin = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self._model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _one(self, size: Size) -> int | None:
        """A tensor with one size: that of an input, or a multiple of it."""
        if size[0] == size[1]:
            return self.constant(np.array([size[0]], np.int32))
        if size not in self._single:
            same = next((of for of in self._moving if of[2] == size), None)
            part = next((known for _, _, known in self._moving if _is_multiple(size, known)), None)
            if same is not None:
                self._single[size] = self._of_input(*same[:2])
            elif part is not None:
                self._single[size] = self._times(self._one(part), size[0] // part[0])
        return self._single.get(size)

    def _of_input(self, tensor: int, dim: int) -> int:
        shape = self._tensor(schema.TensorType.INT32, [len(self._graph.tensors[tensor].shape)], 0)
        options = schema.ShapeOptionsT()
        options.outType = schema.TensorType.INT32
        self._add("SHAPE", [tensor], shape, options)
        result = self._tensor(schema.TensorType.INT32, [1], 0)
        bounds = [self.constant(np.array([number], np.int32)) for number in (dim, dim + 1, 1)]
        self._add("STRIDED_SLICE", [shape, *bounds], result, schema.StridedSliceOptionsT())
        return result

    def _times(self, source: int | None, number: int) -> int:
        result = self._tensor(schema.TensorType.INT32, [1], 0)
        factor = self.constant(np.array([number], np.int32))
        self._add("MUL", [source, factor], result, schema.MulOptionsT())
        return result

    def _tensor(self, kind: int, shape: Sequence[int], buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name = b"sizes/%d" % sum(len(graph.tensors) for graph in self._model.subgraphs)  # in no other graph either
        tensor.type = kind
        tensor.shape = list(shape)
        tensor.hasRank = True
        tensor.buffer = buffer
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _add(self, name: str, inputs: Sequence[int | None], output: int, options: object) -> None:
        operator = schema.OperatorT()
        operator.opcodeIndex = self.opcode(name)
        operator.inputs = list(inputs)
        operator.outputs = [output]
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = options
        self.operators.append(operator)


def _is_multiple(size: Size, part: Size) -> bool:
    return size[0] % part[0] == 0 and size[1] == size[0] // part[0] * part[1]
