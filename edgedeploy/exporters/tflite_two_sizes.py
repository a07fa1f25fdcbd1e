"""One file whose sizes move, out of two whose sizes are fixed. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgedeploy.exporters.tflite_graph import operator_name
from edgedeploy.exporters.tflite_sizes import Array, ComputedSizes, Size
from edgedeploy.exporters.tflite_unread import drop_unread_constants

_NUMPY: Mapping[int, np.dtype[np.generic]] = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
    schema.TensorType.BOOL: np.dtype(np.bool_),
}
_FEW = 8


class FixedSizeError(Exception):
    """Something in the files cannot follow the sizes; ``tensor`` is what the operator there computes, if it is one."""

    def __init__(self, reason: str, tensor: str = "") -> None:
        super().__init__(reason)
        self.tensor = tensor


def with_open_sizes(smaller: bytes, larger: bytes, *, bounded: bool) -> bytes:
    """The file ``smaller`` with every size that is another one in ``larger`` left open, for the engine to find.

    Both are the same model, converted at different sizes. What differs between them depends on the sizes: shapes of
    tensors, which the engine computes again for the inputs it gets, and constants. A shape to be reached with one moving
    size gets -1 for it. Other integers are computed from the inputs' shapes, and a table that grows, of positions or a
    mask, is cut from the larger one, if that is as large as it gets (``bounded``).

    That both conversions agree in all else proves nothing for a third size: outputs are compared at the bounds.

    Raises:
        FixedSizeError: the files differ in other ways.
    """
    model, other = (flatbuffer_utils.read_model_from_bytearray(bytearray(content)) for content in (smaller, larger))
    for graph, twin in zip(model.subgraphs, other.subgraphs, strict=True):
        _Pair(model, graph, other, twin, bounded=bounded).open_sizes()
    drop_unread_constants(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _Pair:
    """A graph at the smaller sizes, which is changed, and its twin at the larger ones."""

    def __init__(
        self,
        model: schema.ModelT,
        graph: schema.SubGraphT,
        other: schema.ModelT,
        twin: schema.SubGraphT,
        *,
        bounded: bool,
    ) -> None:
        self._model, self._graph, self._other, self._twin = model, graph, other, twin
        self._bounded = bounded
        self._require_same_operators()
        inputs = [(int(index), self._sizes(int(index))) for index in graph.inputs]
        self._computed = ComputedSizes(model, graph, inputs)

    def open_sizes(self) -> None:
        tensors = len(self._twin.tensors)
        for index in {int(index) for index in self._graph.outputs}:
            if self._differs(index):
                raise FixedSizeError("an output is a constant whose size moves", self._graph.tensors[index].name.decode())
        for operator in self._graph.operators:
            self._open_operator(operator)
        for index in range(tensors):
            sizes = self._sizes(index)
            if any(size[0] != size[1] for size in sizes) and not self._is_constant(index):
                self._graph.tensors[index].shapeSignature = [size[0] if size[0] == size[1] else -1 for size in sizes]
        self._graph.operators = [*self._computed.operators, *self._graph.operators]

    def _open_operator(self, operator: schema.OperatorT) -> None:
        name = operator_name(self._model, operator.opcodeIndex)
        if name == "SLICE" and any(self._differs(int(index)) for index in operator.inputs[1:]):
            self._open_slice(operator)
        inputs = [int(index) for index in operator.inputs]
        for place, index in enumerate(inputs):
            if index < 0 or not self._differs(index):
                continue
            opened = self._opened_shape(index) if (name, place) == ("RESHAPE", 1) else self._followed(index)
            if opened is None:
                raise FixedSizeError(f"{name} takes {self._described(index)}", self._result_of(operator))
            inputs[place] = opened
        operator.inputs = inputs
        if name == "RESHAPE":
            operator.builtinOptions = None  # the shape once more, which the engine does not read beside a tensor
            operator.builtinOptionsType = schema.BuiltinOptions.NONE

    def _open_slice(self, operator: schema.OperatorT) -> None:
        """Make it a STRIDED_SLICE, which counts from the end as well, and can go up to it."""
        given, begin, length = (int(index) for index in operator.inputs)
        starts, lengths = (list(zip(*(side.tolist() for side in self._values(index)), strict=True)) for index in (begin, length))
        options = schema.StridedSliceOptionsT()
        bounds: list[tuple[int, int]] = []
        for dim, (size, start, extent) in enumerate(zip(self._sizes(given), starts, lengths, strict=True)):
            end = (start[0] + extent[0], start[1] + extent[1])
            first, last = _from_either_end(start, size), _from_either_end(end, size)
            if first is None or last is None:
                raise FixedSizeError(
                    f"SLICE takes {start[0]} to {end[0]} of {size[0]}, and {start[1]} to {end[1]} of {size[1]}",
                    self._result_of(operator),
                )
            if last == 0:
                options.endMask |= 1 << dim
            bounds.append((first, last))
        firsts, lasts = (np.array(numbers, np.int32) for numbers in zip(*bounds, strict=True))
        constants = [self._computed.constant(values) for values in (firsts, lasts, np.ones(len(bounds), np.int32))]
        operator.inputs = [given, *constants]
        operator.opcodeIndex = self._computed.opcode("STRIDED_SLICE")
        operator.builtinOptions, operator.builtinOptionsType = options, schema.BuiltinOptions.StridedSliceOptions

    def _result_of(self, operator: schema.OperatorT) -> str:
        name: bytes = self._graph.tensors[operator.outputs[0]].name
        return name.decode()

    def _opened_shape(self, index: int) -> int | None:
        """A constant shape with -1 for its only moving size; one that is computed where there are more."""
        before, after = self._values(index)
        if before.shape != after.shape:
            return None
        moves = before != after
        if int(moves.sum()) == 1:
            return self._computed.constant(np.where(moves, np.int32(-1), before))
        return self._computed.vector(_pairs(before, after), one_left_open=True)

    def _followed(self, index: int) -> int | None:
        """What computes the constant's values, or cuts it from the larger one."""
        before, after = self._values(index)
        if before.shape != after.shape:
            return self._start_of_the_larger(before, after)
        if before.dtype != np.int32 or before.ndim != 1:
            return None
        return self._computed.vector(_pairs(before, after))

    def _start_of_the_larger(self, before: Array, after: Array) -> int | None:
        if not self._bounded or not np.array_equal(after[tuple(map(slice, before.shape))], before):
            return None
        return self._computed.start_of(after, list(zip(before.shape, after.shape, strict=True)))

    def _described(self, index: int) -> str:
        before, after = self._values(index)
        if before.shape != after.shape:
            shapes = f"a constant of shape {list(before.shape)} or {list(after.shape)}"
            return shapes if self._bounded else f"{shapes}, and torch.export.Dim has no max that it could be made for"
        # Of a table, the first number that is another one.
        whole = before.size <= _FEW
        values = [side.tolist() if whole else side[before != after][0].item() for side in (before, after)]
        return f"the constant {values[0]}, {values[1]} at another size"

    def _sizes(self, index: int) -> list[Size]:
        shapes = [[int(extent) for extent in side.tensors[index].shape] for side in (self._graph, self._twin)]
        if len(shapes[0]) != len(shapes[1]):
            raise FixedSizeError("a tensor has other dimensions at another size", self._graph.tensors[index].name.decode())
        return list(zip(*shapes, strict=True))

    def _is_constant(self, index: int) -> bool:
        data = self._model.buffers[self._graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def _differs(self, index: int) -> bool:
        if index >= len(self._twin.tensors):
            return False
        tensors = self._graph.tensors[index], self._twin.tensors[index]
        before, after = (m.buffers[t.buffer].data for m, t in zip((self._model, self._other), tensors, strict=True))
        if (before is None) != (after is None):
            raise FixedSizeError("a tensor is a constant at one size only", tensors[0].name.decode())
        return before is not None and not np.array_equal(before, after)

    def _values(self, index: int) -> tuple[Array, Array]:
        found = []
        for model, graph in ((self._model, self._graph), (self._other, self._twin)):
            tensor = graph.tensors[index]
            kind = _NUMPY.get(tensor.type)
            if kind is None:
                raise FixedSizeError("a constant of a rare type depends on the size", tensor.name.decode())
            found.append(np.frombuffer(model.buffers[tensor.buffer].data, kind).reshape([int(extent) for extent in tensor.shape]))
        return found[0], found[1]

    def _require_same_operators(self) -> None:
        pairs = zip(self._graph.operators, self._twin.operators, strict=False)
        for one, two in pairs:
            names = operator_name(self._model, one.opcodeIndex), operator_name(self._other, two.opcodeIndex)
            wired = [[int(i) for i in (*o.inputs, -1, *o.outputs)] for o in (one, two)]
            differing = next(_differing_options(one, two), None) if names[0] != "RESHAPE" else None
            tensor = self._graph.tensors[one.outputs[0]].name.decode()
            if names[0] != names[1] or wired[0] != wired[1]:
                raise FixedSizeError(f"the converter writes {names[0]} at one size, {names[1]} at another", tensor)
            if differing is not None:
                raise FixedSizeError(f"{names[0]} has the size in its option {differing}", tensor)
        if len(self._graph.operators) != len(self._twin.operators) or len(self._graph.tensors) != len(self._twin.tensors):
            counts = len(self._graph.operators), len(self._twin.operators)
            raise FixedSizeError(f"the converter writes {counts[0]} operators at one size, {counts[1]} at another")


def _pairs(before: Array, after: Array) -> list[Size]:
    return list(zip(before.tolist(), after.tolist(), strict=True))


def _from_either_end(place: Size, size: Size) -> int | None:
    """A place along a dimension that is the same in both files, counted from the end where it is not from the start."""
    if place[0] == place[1] and place != size:
        return place[0]
    behind = (place[0] - size[0], place[1] - size[1])
    return behind[0] if behind[0] == behind[1] else None


def _differing_options(one: schema.OperatorT, two: schema.OperatorT) -> Iterator[str]:
    for options, others in ((one.builtinOptions, two.builtinOptions), (one.builtinOptions2, two.builtinOptions2)):
        for field, value in vars(options).items() if options is not None else ():
            if _plain(value) != _plain(getattr(others, field, None)):
                yield field


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | Sequence):
        return list(value)
    return vars(value) if hasattr(value, "__dict__") else value
