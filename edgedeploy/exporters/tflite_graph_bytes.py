"""What a ``.tflite`` holds besides weights: operators, tensors, and their names. Pure: needs no SDK.

The bytes of an entry are those of the flatbuffers that LiteRT's converter writes, averaged over the zoo's files; how many
operators PyTorch's become was counted in the same files.
"""

from __future__ import annotations

from typing import Literal

from edgedeploy.domain.profile import ModelProfile, WeightKind

Arithmetic = Literal["float", "static", "mixed", "unpacked"]
"""``mixed``: what is int8 lies between conversions; ``unpacked``: only in the file are weights small, operators widen them."""

SCALE_BYTES = 12  # a float, and the zero point in 64 bits: per channel, of weights and biases
_MODEL = 700  # the model, its signature, metadata, and the codes of its operators
_OPERATOR = 93  # an operator of 45 bytes, the tensor that it makes
_EMPTY_BUFFER = 12  # which a float tensor has; the quantizer removes them
_CONSTANT = 88  # a tensor, and a buffer with room for its alignment
_QUANTIZATION = 34  # scale and zero point of a tensor that has one of each
_SHAPES = 10  # constants that are shapes, axes and the like; equal ones are one
_SHAPES_PER_OPERATOR = 0.1

# A tensor is named after the operators that were fused into it: module's path and operator, each.
_LABELS = 1.2
_NUMBER = 8  # of tensors with the same name, and the end of the string
_LABELS_OF_FOLDED_NORM = 15  # in the names of weight (4), bias (5 or 6) and output: BatchNorm is four operators before it folds
_LABELS_OF_CONVERSION = 2.5

_OPERATORS_OF_COMPOSED_GELU = 7  # x·½·(1 + tanh(√(2/π)·(x + 0.044715·x³))) comes out as one

# How many operators one becomes.
_OPERATORS = {
    "conv1d": 5,  # with reshapes and transposes around a convolution over two dimensions
    "conv_transpose1d": 5,
    "native_layer_norm": 12,
    "native_group_norm": 12,
    "batch_norm": 2,
    "silu": 2,
    "_prelu_kernel": 4,
    "linalg_vector_norm": 3,
    # Fused, folded, or the same for every input.
    "relu": 0,
    "hardtanh": 0,
    "folded_batch_norm": 0,
    "constant_pad_nd": 0.2,
    "clone": 0,
    "detach": 0,
    "alias": 0,
    "t": 0,
    "empty": 0,
    "expand": 0,
    "unsqueeze": 0.2,
    "arange": 0,
    "scalar_tensor": 0,
    "where": 0.2,
    "hardsigmoid": 1,
    "ge": 0.3,
    "eq": 0.3,
    "le": 0.3,
    "ne": 0.3,
    "bitwise_and": 0.3,
    "new_ones": 0,
    "zeros": 0,
    "index": 0.3,
    "cumsum": 0,
    "roll": 4,
}


_CONVERTED = ("linear", "addmm", "mm", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")
_UNPACKED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent", "embedding"})


def graph_bytes(profile: ModelProfile, arithmetic: Arithmetic) -> int:
    """All of it, in one method or several."""
    operators = sum(_OPERATORS.get(name, 1) * times for method in profile.methods for name, times in method.steps.items())
    # Between the two dimensions of a convolution over one, reshaped, BatchNorm stays a multiplication and an addition.
    unfolded = min(profile.steps("folded_batch_norm"), profile.steps("conv1d", "conv_transpose1d"))
    composed_gelus = min(profile.calls("tanh"), profile.calls("pow"))
    operators += 2 * unfolded - _OPERATORS_OF_COMPOSED_GELU * composed_gelus
    weights = len(profile.stored_weights) + unfolded
    constants = weights + _SHAPES + _SHAPES_PER_OPERATOR * operators
    labels: float = _LABELS_OF_FOLDED_NORM * (profile.steps("folded_batch_norm") - unfolded)
    quantized = 0.0
    if arithmetic == "static":
        quantized = operators + weights
    if arithmetic == "mixed":
        quantized = conversions = 2 * profile.steps(*_CONVERTED)
        operators += conversions
        labels += (_LABELS_OF_CONVERSION - _LABELS) * conversions
    if arithmetic == "unpacked":
        conversions = sum(not _UNPACKED.isdisjoint(weight.kinds) for weight in profile.stored_weights)
        operators += conversions
        labels += (_LABELS_OF_CONVERSION - _LABELS) * conversions
    tensors = operators + constants
    label_bytes = max(method.label_bytes for method in profile.methods)
    names = _NUMBER * tensors + label_bytes * (labels + _LABELS * tensors)
    operator = _OPERATOR + (_EMPTY_BUFFER if arithmetic == "float" else 0)
    return round(
        _MODEL + operator * operators + _CONSTANT * constants + _QUANTIZATION * quantized + names + _unrolled(profile, arithmetic)
    )


def _unrolled(profile: ModelProfile, arithmetic: Arithmetic) -> int:
    """Of recurrent layers, each step is written out; in int8 with a bias of its own, in the scale of its inputs."""
    if arithmetic not in {"static", "mixed"} or not profile.calls("gru", "lstm", "rnn"):
        return 0
    gates = [weight.shape[0] for weight in profile.weights if "recurrent" in weight.kinds]
    return profile.steps("addmm") * (_CONSTANT + _QUANTIZATION + (4 + SCALE_BYTES) * max(gates, default=0))
