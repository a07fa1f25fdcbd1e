"""What runs where in a ``.tflite`` file, and which line of the user's it comes from. Imports the SDK: load it when needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgedeploy.domain.artifact import Operator
from edgedeploy.exporters.diagnosis import innermost_line
from edgedeploy.exporters.tflite_conversion import Origin, labels_of
from edgedeploy.exporters.tflite_graph import OperatorUse, read_graphs

Sample = Mapping[str, NDArray[np.generic]]

_XNNPACK = "XNNPACK"
_DELEGATE_CALL = "DELEGATE"
# Operators of PyTorch that do the multiplying: of several that were fused into one, these give it its place.
_MULTIPLYING = ("conv", "linear", "mm", "matmul", "embedding")
# What the quantizer appends to the names of tensors on the other side of a conversion.
_SUFFIXES = ("_dequant", "_quantized", "_quant", "_requant")


def what_runs(
    content: bytes, signature: str, sample: Sample, origins: Mapping[str, Origin], *, method: str, user_root: str
) -> tuple[Operator, ...]:
    """The operators behind one signature in the order of execution.

    ``delegate`` is what the XNNPACK of this machine's ai-edge-litert takes when it runs ``sample``, at whose shapes
    multiply-accumulates are counted. A phone's takes the same; an older one may take fewer.
    """
    number = next(place for place, graph in enumerate(read_graphs(content)) if signature in graph.signatures)
    first = _with_graph_first(content, number)
    operators = read_graphs(first)[0].operators
    delegated = _delegated(first, signature, sample, operators)
    shapes = _shapes(first, signature, sample, operators)
    rows = []
    for place, use in enumerate(operators):
        origin = origin_of(use, origins)
        line = innermost_line(origin.stack_trace, user_root) if origin and origin.stack_trace else None
        rows.append(
            Operator(
                operator=use.operator,
                name=use.name,
                delegate=_XNNPACK if place in delegated else None,
                macs=_macs(use, shapes),
                source=str(line or ""),
                module=origin.module if origin else "",
                method=method,
                call=place,
            )
        )
    return tuple(rows)


def origin_of(use: OperatorUse, origins: Mapping[str, Origin]) -> Origin | None:
    """Where an operator comes from; None for what the quantizer or the converter added."""
    return origin_of_tensor(use.name, origins)


def origin_of_tensor(name: str, origins: Mapping[str, Origin]) -> Origin | None:
    """The same for what computes the tensor of this name."""
    found = [origins[label] for label in _labels(name) if label in origins]
    return next((one for one in found if any(word in one.operator for word in _MULTIPLYING)), found[0] if found else None)


def _labels(tensor_name: str) -> Sequence[str]:
    for suffix in _SUFFIXES:
        tensor_name = tensor_name.removesuffix(suffix)
    return labels_of(tensor_name)


def _with_graph_first(content: bytes, number: int) -> bytes:
    """The file with this graph as its first, the only one whose operators the interpreter lists."""
    if number == 0:
        return content
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    # Graphs of signatures are called by no other one: nothing but the signatures refers to these two places.
    model.subgraphs[0], model.subgraphs[number] = model.subgraphs[number], model.subgraphs[0]
    for signature in model.signatureDefs:
        signature.subgraphIndex = {0: number, number: 0}.get(signature.subgraphIndex, signature.subgraphIndex)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _delegated(content: bytes, signature: str, sample: Sample, operators: Sequence[OperatorUse]) -> set[int]:
    """Places of the operators that a delegate took: what they compute it gives back, or keeps to itself."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.get_signature_runner(signature)(**sample)
    details = interpreter._get_ops_details()  # noqa: SLF001 - no public way to ask
    given_back = {int(index) for one in details if one["op_name"] == _DELEGATE_CALL for index in one["outputs"]}

    def taken(use: OperatorUse) -> bool:
        return all(tensor.index in given_back or not _has_data(interpreter, tensor.index) for tensor in use.outputs)

    return {place for place, use in enumerate(operators) if taken(use)} if given_back else set()


def _has_data(interpreter: Interpreter, index: int) -> bool:
    try:
        interpreter.get_tensor(index)
    except ValueError:  # "Tensor data is null": no memory was planned for it
        return False
    return True


def _shapes(content: bytes, signature: str, sample: Sample, operators: Sequence[OperatorUse]) -> dict[int, tuple[int, ...]]:
    """Shapes of all tensors when the sample runs; within a delegate they would stay what the file says."""
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.get_signature_runner(signature)(**sample)
    used = {tensor.index for use in operators for tensor in (*use.inputs, *use.outputs) if tensor is not None}
    sizes = interpreter._interpreter.TensorSize  # noqa: SLF001 - the public details read everything else as well
    return {index: tuple(int(extent) for extent in sizes(index, 0)) for index in used}


def _macs(use: OperatorUse, shapes: Mapping[int, tuple[int, ...]]) -> int:
    """Multiply-accumulates of the operators that do nearly all of them; 0 for the others."""
    inputs = [shapes[tensor.index] if tensor is not None else () for tensor in use.inputs]
    out = shapes[use.outputs[0].index] if use.outputs else ()
    match use.operator, inputs:
        case "CONV_2D", [_, [_, *kernel], *_]:  # weights: outputs, height, width, inputs of a group
            each = math.prod(kernel)
        case "DEPTHWISE_CONV_2D", [_, [_, height, width, _], *_]:
            each = height * width
        case "CONV_3D", [_, [*kernel, _], *_]:  # weights: depth, height, width, inputs, outputs
            each = math.prod(kernel)
        case "TRANSPOSE_CONV", [_, [outputs, height, width, _], data, *_]:
            return math.prod(data) * outputs * height * width
        case "FULLY_CONNECTED", [_, [*_, row], *_]:
            each = row
        case "BATCH_MATMUL", [[*_, rows, columns], *_]:  # the left side may be transposed: its area over the rows
            each = rows * columns // max(out[-2], 1)
        case _:
            each = 0
    return math.prod(out) * each
