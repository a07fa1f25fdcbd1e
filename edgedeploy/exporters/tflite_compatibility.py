"""What tflite-runtime, the engine of boards that have no newer one, does not compute right. Pure: plain values in, words out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from edgedeploy.exporters.tflite_graph import Graph, OperatorUse, TensorUse

OLD_ENGINE = "tflite-runtime"
"""The engine's name in a target's ``runtime_versions``. 2.14.0 is its last release and what all below was measured with."""

# The newest version of each operator that 2.14.0 registers, where ai-edge-litert 2.3.0 registers a newer one. Found by
# loading a file per operator and version into both.
_NEWEST: Mapping[str, int] = {
    "ADD": 5,
    "BROADCAST_TO": 3,
    "CAST": 5,
    "CONCATENATION": 4,
    "CONV_2D": 7,
    "COS": 1,
    "DEQUANTIZE": 5,
    "DILATE": 0,
    "DYNAMIC_UPDATE_SLICE": 1,
    "EMBEDDING_LOOKUP": 3,
    "EQUAL": 4,
    "FILL": 4,
    "FULLY_CONNECTED": 10,
    "GATHER": 6,
    "GATHER_ND": 4,
    "GELU": 2,
    "LOG": 1,
    "MUL": 7,
    "NOT_EQUAL": 3,
    "PACK": 4,
    "PAD": 4,
    "PADV2": 4,
    "QUANTIZE": 3,
    "REDUCE_WINDOW": 0,
    "REVERSE_V2": 3,
    "RSQRT": 2,
    "SIN": 1,
    "SLICE": 6,
    "SOFTMAX": 3,
    "SPLIT": 4,
    "SPLIT_V": 2,
    "SQRT": 1,
    "TRANSPOSE": 6,
    "TRANSPOSE_CONV": 4,
    "UNPACK": 4,
}
# 2.14.0 registers none of StableHLO's operators.
_STABLEHLO = "STABLEHLO_"
_NARROW = ("INT4", "UINT4", "INT2")
_NO_KERNEL = {"INT8": ("DIV", "SQRT"), "INT16": ("BATCH_MATMUL", "DIV", "GELU", "RSQRT", "SQRT", "SUM")}
# Input 1 is the weights.
_ONE_SCALE = ("FULLY_CONNECTED", "BATCH_MATMUL", "EMBEDDING_LOOKUP")
_MATRIX = 2


class Incompatibility(msgspec.Struct, frozen=True, kw_only=True):
    """An operator that the engine refuses, or gets wrong without a word (``silent``); ``next_step`` is what to do."""

    operator: OperatorUse
    reason: str
    silent: bool
    next_step: str


def incompatibilities(graphs: Sequence[Graph]) -> tuple[Incompatibility, ...]:
    """Everything in a file that tflite-runtime 2.14.0 cannot read or computes wrongly; empty if it computes the file right."""
    return tuple(found for graph in graphs for operator in graph.operators if (found := next(_found(operator), None)) is not None)


def _found(operator: OperatorUse) -> Iterator[Incompatibility]:
    for rule in _RULES:
        if (found := rule(operator)) is not None:
            yield found


def _too_new(operator: OperatorUse) -> Incompatibility | None:
    newest = 0 if operator.operator.startswith(_STABLEHLO) else _NEWEST.get(operator.operator)
    if newest is None or operator.version <= newest:
        return None
    known = f"it has them up to version {newest}" if newest else "it has no such operator"
    return Incompatibility(
        operator=operator,
        reason=f"{operator.operator} version {operator.version} ({_types(operator)}): {known}",
        silent=False,
        next_step="write this line with other operators, compute it outside the model, or put ai-edge-litert on the board",
    )


def _narrow_weights(operator: OperatorUse) -> Incompatibility | None:
    narrow = [tensor for tensor in _tensors(operator) if tensor.type in _NARROW or tensor.block_size]
    if not narrow:
        return None
    return Incompatibility(
        operator=operator,
        reason=f"{operator.operator} with {narrow[0].type} weights: it has no kernel for them",
        silent=False,
        next_step="use int8-weights or int8 for this board, or put ai-edge-litert on it",
    )


def _scale_per_channel(operator: OperatorUse) -> Incompatibility | None:
    if operator.operator not in _ONE_SCALE:
        return None
    weights = operator.input(1)
    # What an embedding reads its table with are numbers of rows.
    beside = operator.outputs[0] if operator.operator == "EMBEDDING_LOOKUP" else operator.input(0)
    if weights is None or beside is None or weights.type != "INT8" or weights.scales <= 1 or beside.type != "FLOAT32":
        return None
    return Incompatibility(
        operator=operator,
        reason=f"{operator.operator} with a scale per channel and float activations: it takes the first scale for all channels",
        silent=True,
        next_step="use int8 or int8-weights for this board, or put ai-edge-litert on it",
    )


def _no_kernel(operator: OperatorUse) -> Incompatibility | None:
    given = next((tensor for tensor in operator.inputs if tensor is not None), None)
    if operator.operator == "TRANSPOSE_CONV":
        weights, data = operator.input(1), operator.input(2)
        missing = weights is not None and data is not None and (weights.type, data.type) == ("INT8", "FLOAT32")
        types = "INT8 weights and FLOAT32 activations"
    elif operator.operator == "FULLY_CONNECTED":
        weights = operator.input(1)
        missing = given is not None and given.type == "INT16" and weights is not None and not weights.constant
        types = "INT16 activations and weights that are computed"
    else:
        missing = given is not None and operator.operator in _NO_KERNEL.get(given.type, ())
        types = f"{given.type} activations" if given is not None else ""
    if not missing:
        return None
    return Incompatibility(
        operator=operator,
        reason=f"{operator.operator} with {types}: it has no kernel for them",
        silent=False,
        next_step="use int8, int8-weights or fp16 for this board, or put ai-edge-litert on it",
    )


def _sixteen_bits_with_bias(operator: OperatorUse) -> Incompatibility | None:
    given, bias = operator.input(0), operator.input(2)
    if operator.operator != "FULLY_CONNECTED" or given is None or bias is None:
        return None
    if given.type != "INT16" or len(given.shape) == _MATRIX:
        return None
    return Incompatibility(
        operator=operator,
        reason=f"FULLY_CONNECTED with a bias and INT16 activations of {len(given.shape)} dimensions: it computes them wrongly",
        silent=True,
        next_step="use int8 or fp16 for this board, or put ai-edge-litert on it",
    )


_RULES: tuple[Callable[[OperatorUse], Incompatibility | None], ...] = (
    _narrow_weights,
    _scale_per_channel,
    _no_kernel,
    _sixteen_bits_with_bias,
    _too_new,
)


def _tensors(operator: OperatorUse) -> tuple[TensorUse, ...]:
    return (*(tensor for tensor in operator.inputs if tensor is not None), *operator.outputs)


def _types(operator: OperatorUse) -> str:
    return ", ".join(tensor.type for tensor in operator.inputs if tensor is not None)
