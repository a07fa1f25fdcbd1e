"""Per-row scales that runtimes with one scale per tensor understand. Imports the SDK: load it when it is needed."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgedeploy.exporters.tflite_graph import operator_name
from edgedeploy.exporters.tflite_unread import drop_unread_constants

Rows = NDArray[np.float32]

ROW_SCALES = "/rows"
"""What the names of looked-up row scales end in."""


def with_scaled_rows(content: bytes, *, linear: bool) -> bytes:
    """The float model with rows of embeddings, and of weights if ``linear``, of equal range, multiplied back afterwards.

    ``W·x + b`` becomes ``s ⊙ (W'·x + b/s)``, where ``s`` holds each row's largest magnitude, and an embedding's row is
    multiplied by its own ``s``. Int8 with one scale for all of ``W'`` is then as fine as int8 with one scale per row of
    ``W``. For tflite-runtime 2.14, which ignores all scales but the first when activations are float.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        _Scaling(model, graph, linear=linear).run()
    drop_unread_constants(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _Scaling:
    """The rewriting of one graph."""

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT, *, linear: bool) -> None:
        self._model = model
        self._graph = graph
        self._linear_too = linear
        self._scaled: dict[int, tuple[int, Rows]] = {}

    def run(self) -> None:
        rewritten: list[schema.OperatorT] = []
        for operator in self._graph.operators:
            kind = operator_name(self._model, operator.opcodeIndex)
            if self._linear_too and kind == "FULLY_CONNECTED" and self._is_matrix(operator.inputs[1]):
                rewritten += self._linear(operator)
            elif kind == "EMBEDDING_LOOKUP" and self._is_matrix(operator.inputs[1]):
                rewritten += self._embedding(operator)
            else:
                rewritten.append(operator)
        self._graph.operators = rewritten

    def _linear(self, operator: schema.OperatorT) -> list[schema.OperatorT]:
        weights, scales = self._rows(operator.inputs[1])
        inputs = [int(index) for index in operator.inputs]
        inputs[1] = weights
        has_bias = len(inputs) > 2 and inputs[2] >= 0  # noqa: PLR2004 - input, weights, bias
        if has_bias:
            bias = self._graph.tensors[inputs[2]]
            values = self._model.buffers[bias.buffer].data
            if values is None or not len(values):  # a bias that is computed: leave the layer as it is
                return [operator]
            # Layers with equal biases share one constant.
            name = self._graph.tensors[operator.outputs[0]].name + b"/bias_over_rows"
            inputs[2] = self._constant(name, values.view("<f4") / scales)
        options = operator.builtinOptions
        activation = options.fusedActivationFunction
        options.fusedActivationFunction = schema.ActivationFunctionType.NONE
        output = int(operator.outputs[0])
        operator.inputs = inputs
        operator.outputs = [self._like(output, b"/before_rows")]
        factor = self._constant(self._graph.tensors[output].name + b"/rows", scales)
        return [operator, self._multiply(operator.outputs[0], factor, output, activation)]

    def _embedding(self, operator: schema.OperatorT) -> list[schema.OperatorT]:
        weights, scales = self._rows(operator.inputs[1])
        ids, output = int(operator.inputs[0]), int(operator.outputs[0])
        operator.inputs = [ids, weights]
        operator.outputs = [self._like(output, b"/before_rows")]
        name = self._graph.tensors[output].name
        looked_up = self._like(output, ROW_SCALES.encode())
        tensor = self._graph.tensors[looked_up]
        tensor.shape = [*[int(extent) for extent in tensor.shape][:-1], 1]
        if tensor.shapeSignature is not None:
            tensor.shapeSignature = [*[int(extent) for extent in tensor.shapeSignature][:-1], 1]
        lookup = schema.OperatorT()
        lookup.opcodeIndex = operator.opcodeIndex
        lookup.inputs = [ids, self._constant(name + b"/row_table", scales.reshape(-1, 1))]
        lookup.outputs = [looked_up]
        none = schema.ActivationFunctionType.NONE
        return [operator, lookup, self._multiply(operator.outputs[0], looked_up, output, none)]

    def _multiply(self, left: int, right: int, output: int, activation: int) -> schema.OperatorT:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._opcode(schema.BuiltinOperator.MUL)
        operator.inputs = [left, right]
        operator.outputs = [output]
        operator.builtinOptionsType = schema.BuiltinOptions.MulOptions
        operator.builtinOptions = schema.MulOptionsT()
        operator.builtinOptions.fusedActivationFunction = activation
        return operator

    def _opcode(self, builtin: int) -> int:
        for index, code in enumerate(self._model.operatorCodes):
            if code.builtinCode == builtin:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _is_matrix(self, index: int) -> bool:
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        is_float = tensor.type == schema.TensorType.FLOAT32
        return is_float and len(tensor.shape) == 2 and data is not None and len(data) > 0  # noqa: PLR2004 - rows, columns

    def _rows(self, index: int) -> tuple[int, Rows]:
        """The tensor with its rows scaled to 1, and their scales; one new tensor for all that share the old one."""
        index = int(index)
        if index not in self._scaled:
            tensor = self._graph.tensors[index]
            values = self._model.buffers[tensor.buffer].data.view("<f4").reshape(tensor.shape)
            scales = np.abs(values).max(axis=1).astype(np.float32)
            scales[scales == 0] = 1.0  # a row of zeros stays one
            self._scaled[index] = (self._constant(tensor.name + b"/rows_of_1", values / scales[:, None]), scales)
        return self._scaled[index]

    def _constant(self, name: bytes, values: Rows) -> int:
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values, dtype="<f4").view(np.uint8).ravel()
        self._model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name = name
        tensor.type = schema.TensorType.FLOAT32
        tensor.shape = list(values.shape)
        tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _like(self, index: int, suffix: bytes) -> int:
        original = self._graph.tensors[index]
        tensor = schema.TensorT()
        tensor.name = original.name + suffix
        tensor.type = original.type
        tensor.shape = original.shape
        tensor.shapeSignature = original.shapeSignature
        tensor.hasRank = original.hasRank
        tensor.buffer = 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1
