"""What a ``.pte`` for XNNPACK holds besides weights: graphs, and the program around them. Pure: needs no SDK.

The bytes of an entry are those of the flatbuffers that ExecuTorch 1.5 writes, averaged over the zoo's files; how many entries
an operator makes was counted in the same files.
"""

from __future__ import annotations

from typing import Literal

from edgedeploy.domain.footprint import Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind

Arithmetic = Literal["float", "static", "dynamic", "mixed"]

_PROGRAM = 900  # the program with one method, its inputs, outputs and tables
_OPERATOR_NAME = 75  # of a kernel that the program calls, once
_DELEGATE = 525  # a part of the graph that XNNPACK runs: header, padding to 128, its entry, the values that cross over
_KERNEL = 210  # a call of a kernel of ExecuTorch's own: instruction, result, arguments that are values too
_NODE = 103  # an XNode of 44 bytes, the XValue that it makes of 59
_INPUT_AND_OUTPUT = 4  # nodes that reorder them, and their values
_QUANTIZED_NODE = 123  # the value has a scale and a zero point
_CONSTANT_READ = 185  # a weight in a part of the graph: XValue, and its SHA-256 in hexadecimal to find it by
_SEGMENT = 115  # the same SHA-256 in the program, and where the weight lies
_SCALES = 240  # the scales of a weight: SHA-256 twice, segment
_SCALES_OF_BIAS = _SCALES + 128  # where only convolutions have them
_READ_PER_STEP = 2.5  # constants that one step of an unrolled recurrent layer reads, in a part of the graph of its own
_KERNEL_CONSTANT = 80  # a tensor of the program

# What XNNPACK runs, in nodes. Reshapes and transposes around a convolution over one dimension; activations that are fused.
_NODES = {
    "addmm": 1,
    "mm": 1,
    "linear": 1,
    "bmm": 2,
    "conv2d": 1,
    "conv1d": 5,
    "conv_transpose2d": 1,
    "conv_transpose1d": 5,
    "batch_norm": 1,
    "hardsigmoid": 3,
    "silu": 2,
    "clone": 0,
    "relu": 0,
    "hardtanh": 0,
    "folded_batch_norm": 0,
    "detach": 0,
    "alias": 0,
    "t": 0,
    "empty": 0,
}
# What its kernels run, in calls, and how often that interrupts the graph that XNNPACK runs.
_KERNELS = {
    "native_layer_norm": (2, 1),
    "native_group_norm": (2, 1),
    "_safe_softmax": (8, 0),
    "expand": (1.5, 0.5),
    "roll": (12, 1),
    "split": (1.35, 0.15),
    "unsafe_split": (1.35, 0.15),
    "_adaptive_avg_pool2d": (1, 1),
    "eye": (5, 0),
    "sum": (1, 1),
    "amax": (1, 1),
    "linalg_vector_norm": (3, 1),
}
_KERNELS_WITHOUT_INTERRUPTION = frozenset(
    {"arange", "scalar_tensor", "where", "unsqueeze", "squeeze", "select", "unbind", "stack", "embedding", "index", "_to_copy"}
    | {"eq", "ge", "le", "lt", "gt", "ne", "bitwise_and", "bitwise_not", "cumsum", "new_ones", "zeros", "full", "full_like"}
    | {"masked_fill", "gather", "index_add", "zeros_like", "ones", "argmax", "elu", "_log_softmax"}
)
# Float in graphs that are int8 otherwise: converted before and after.
_FLOAT_ALWAYS = frozenset(
    {"sigmoid", "silu", "hardswish", "hardsigmoid", "leaky_relu", "_prelu_kernel", "gelu", "tanh", "constant_pad_nd", "elu"}
)
_OF_KERNELS: frozenset[WeightKind] = frozenset({"norm", "statistics", "embedding", "lookup"})


def graph_bytes(profile: ModelProfile, packing: Packing, arithmetic: Arithmetic) -> int:
    """All of it, in one method or several."""
    nodes = calls = interruptions = 0.0
    kernels: set[str] = set()
    for method in profile.methods:
        for name, times in method.steps.items():
            call, interruption = _KERNELS.get(name, (1, 0.0) if name in _KERNELS_WITHOUT_INTERRUPTION else (0, 0.0))
            calls += call * times
            interruptions += interruption * times
            if call:
                kernels.add(name)
            else:
                nodes += _NODES.get(name, 1) * times
            nodes += _conversions(name, arithmetic) * times
    nodes += _INPUT_AND_OUTPUT - profile.steps("_safe_softmax")  # one is XNNPACK's, but not two multiplications by a number
    node = _QUANTIZED_NODE if arithmetic == "static" else _NODE
    delegates = len(profile.methods) + interruptions
    biases = profile.calls("conv") if arithmetic == "mixed" else 0
    program = _PROGRAM + _OPERATOR_NAME * len(kernels) + _KERNEL * calls + _DELEGATE * delegates
    return round(program + node * nodes + _SCALES_OF_BIAS * biases + _constant_bytes(profile, packing))


def _conversions(name: str, arithmetic: Arithmetic) -> int:
    """Nodes that go from float to int8 or back, around one operator."""
    if arithmetic == "static":
        return 2 if name in _FLOAT_ALWAYS else 0
    if arithmetic == "mixed" and name.startswith("conv"):
        return 2
    return 1 if arithmetic in {"dynamic", "mixed"} and name in {"linear", "addmm", "mm"} else 0


def _constant_bytes(profile: ModelProfile, packing: Packing) -> int:
    """What the weights take besides their data: those that kernels read, and those that XNNPACK does."""
    total = 0.0
    for weight in profile.weights:
        for kind in packing.stored_for(weight):
            total += _KERNEL_CONSTANT if kind in _OF_KERNELS else _CONSTANT_READ
    for weight in profile.stored_weights:
        for kind in packing.stored_for(weight):
            total += 0 if kind in _OF_KERNELS else _SEGMENT
            total += _SCALES if packing.scales(weight, kind) else 0
    if profile.calls("gru", "lstm", "rnn"):
        total += _CONSTANT_READ * _READ_PER_STEP * profile.steps("addmm")
    return round(total)
