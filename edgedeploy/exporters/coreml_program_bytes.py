"""What an ``.mlpackage`` holds besides weights: the ML Program, in protobuf. Pure: needs no SDK.

An operation, each of its attributes (a constant is an operation, too) and each weight take about the same everywhere: the
bytes are means over the zoo's packages, and what PyTorch's operators become was counted in the same packages.
"""

from __future__ import annotations

from edgedeploy.domain.footprint import Packing
from edgedeploy.domain.profile import ModelProfile

_PACKAGE = 1_000  # the manifest of 617 bytes, inputs and outputs, the function
_OPERATION = 108
_ATTRIBUTE = 148  # a constant of 108, and its name where it is read
_WEIGHT = 145  # a constant that points into weight.bin
_NAMES_OF_WEIGHT = 3  # with its module's path so often
_NAMES_OF_FOLDED_WEIGHT = 45  # a number in place of the path
_NORM_APART = 2_500  # a BatchNorm with four weights: after linear layers only PT2E folds it, except by PT2E
_COMPRESSED_WEIGHT = 360  # the operation that decompresses it, and its scales
_HALF = 30  # longer names of an operation in 16 bits
_CASTS = 500  # of inputs and outputs, to 16 bits and back
_QUANTIZED_VALUE = 780  # quantize (480) and dequantize (300) with their scales

_LOOP, _LOOP_IN_HALF = 8_300, 11_500  # with its body
_OPERATIONS_OF_COMPOSED_GELU = 7  # x·½·(1 + tanh(√(2/π)·(x + 0.044715·x³))) comes out as one
# Operations and attributes that one operator of PyTorch becomes.
_NONE = (0.0, 0.0)
_ONE = (1.0, 0.0)
_BECOMES = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), (1.0, 5.0)),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), (1.0, 6.0)),
    **dict.fromkeys(
        ("dropout", "contiguous", "clone", "detach", "alias", "to", "arange", "zeros", "ones", "full", "new_ones"), _NONE
    ),
    **dict.fromkeys(("expand", "_assert_tensor_metadata", "eye", "lift_fresh_copy", "scalar_tensor", "sym_size"), _NONE),
    **dict.fromkeys(("linear", "relu", "silu", "sigmoid", "tanh", "abs", "sqrt", "exp", "softplus", "neg", "where"), _ONE),
    **dict.fromkeys(("add", "sub", "mul", "div", "rsub"), (1.0, 0.3)),
    **dict.fromkeys(("gelu", "elu", "leaky_relu", "softmax", "pow", "rsqrt", "log"), (1.0, 1.0)),
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "transpose", "permute", "unsqueeze", "squeeze"), (1.0, 1.0)),
    **dict.fromkeys(("mean", "sum", "amax", "cat", "chunk", "split", "matmul", "bmm", "clamp", "hardtanh", "relu6"), (1.0, 2.0)),
    **dict.fromkeys(("linalg_vector_norm", "layer_norm", "adaptive_avg_pool2d", "log_softmax", "stack"), (1.0, 2.0)),
    **dict.fromkeys(("pad", "upsample_bilinear2d", "upsample_nearest2d", "interpolate", "argmax"), (1.0, 3.0)),
    **dict.fromkeys(("slice", "select", "index"), (1.0, 3.4)),
    "max_pool2d": (1.0, 5.0),
    "avg_pool2d": (1.0, 6.0),
    "hardswish": (5.0, 6.0),
    "hardsigmoid": (3.0, 5.0),
    "prelu": (3.0, 2.0),
    "group_norm": (11.0, 8.0),
    "scaled_dot_product_attention": (5.0, 6.0),
    "embedding": (4.0, 6.0),
    "lstm": (1.0, 13.0),
    "lstm_cell": (12.0, 2.0),
    "gru": _NONE,  # see _loop_bytes
    "batch_norm": (1.0, 1.0),
    "index_add": (4.0, 5.0),
}
_COMPUTING = (
    "conv",
    "linear",
    "add",
    "mul",
    "matmul",
    "bmm",
    "mean",
    "adaptive_avg_pool",
    "avg_pool",
    "max_pool",
    "pad",
    "cat",
    "prelu",
)


def program_bytes(profile: ModelProfile, packing: Packing, *, half: bool, static: bool) -> int:
    """All of it. ``half``: in 16 bits. ``static``: values between the layers are int8, too."""
    operations = attributes = 0.0
    for method in profile.methods:
        for name, times in method.operators.items():
            operation, attribute = _BECOMES.get(name, (1.0, 1.0))
            operations += operation * times
            attributes += attribute * times
    folded = profile.steps("folded_batch_norm")
    composed_gelus = min(profile.calls("tanh"), profile.calls("pow"))
    operations -= folded + _OPERATIONS_OF_COMPOSED_GELU * composed_gelus
    attributes -= folded + composed_gelus
    apart = 0 if static else max(0, folded - profile.calls("conv"))
    values = 1 + profile.calls(*_COMPUTING) if static else 0
    return round(
        _PACKAGE
        + (_CASTS if half else 0)
        + (_OPERATION + (_HALF if half else 0)) * operations
        + _ATTRIBUTE * attributes
        + _NORM_APART * apart
        + _QUANTIZED_VALUE * values
        + _weight_bytes(profile, packing)
        + _loop_bytes(profile, half=half)
    )


def _weight_bytes(profile: ModelProfile, packing: Packing) -> int:
    """What weights take besides their data."""
    weights = [(weight, kind) for weight in profile.stored_weights for kind in packing.stored_for(weight)]
    compressed = sum(packing.scales(weight, kind) > 0 for weight, kind in weights)
    # Weight and bias of a convolution that BatchNorm was folded into have numbers for names.
    numbered = 2 * min(profile.steps("folded_batch_norm"), profile.calls("conv"))
    names = _NAMES_OF_WEIGHT * max(method.label_bytes for method in profile.methods)
    named = len(weights) - numbered
    return _WEIGHT * len(weights) + names * named + _NAMES_OF_FOLDED_WEIGHT * numbered + _COMPRESSED_WEIGHT * compressed


def _loop_bytes(profile: ModelProfile, *, half: bool) -> int:
    """Each layer of a GRU is a loop; they share a constant of zeros, with room for the hidden values of every step."""
    if not profile.calls("gru"):
        return 0
    gates = [weight.shape[0] for weight in profile.weights if "recurrent" in weight.kinds]
    layers = max(1, len(gates) // 2)
    zeros = profile.steps("addmm") // layers * max(gates, default=0) // 3
    return _LOOP_IN_HALF * layers + 2 * zeros if half else _LOOP * layers + 4 * zeros
