"""What a ``.pte`` for XNNPACK will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from functools import partial

import msgspec

from edgedeploy.domain.footprint import Arithmetic, Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, Weight, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.executorch_graph_bytes import Arithmetic as GraphArithmetic
from edgedeploy.exporters.executorch_graph_bytes import graph_bytes
from edgedeploy.exporters.int8_scope import operators_fit_int8

# Layers whose weights XNNPACK copies into the order of its kernels.
_COPIED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
# GRU and LSTM stay in float where a graph is quantized, and not weights alone.
_LAYERS: dict[WeightKind, float] = {"linear": 8, "conv": 8, "embedding": 8, "lookup": 8}
_MATRICES: dict[WeightKind, float] = {"linear": 8, "recurrent": 8, "embedding": 8, "lookup": 8}
_NIBBLES: dict[WeightKind, float] = {"linear": 4, "recurrent": 4, "embedding": 8, "lookup": 8}
_SEGMENT_ALIGNMENT = 128  # ExecutorchBackendConfig.segment_alignment; every constant of XNNPACK is a segment


_packing = partial(Packing, scales_apart=True, eight_where_undivided=True, statistics_vanish=True, alignment=_SEGMENT_ALIGNMENT)
_STATIC = _packing(bits=_LAYERS, scaled=frozenset({"bias"}))
_DYNAMIC = _packing(bits=_LAYERS)
_PACKINGS = {
    "fp32": _packing(),
    "fp16": _packing(bits={"conv": 32}, otherwise=16),
    "int8": _STATIC,
    "int8-static": _STATIC,
    "int8-dynamic": _DYNAMIC,
    "int8-weights": _packing(bits=_MATRICES),
    "int4-weights": _packing(bits=_NIBBLES),
    "8da4w": _packing(bits=_NIBBLES, scale_bytes=2, group=32),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "fp16": "fp16", "int8-weights": "fp32", "int4-weights": "fp32"}

# Found by benchmarks/predictions on the models it calibrates with.
_FLOAT = Effort(base_bytes=90e6, floor_bytes=425e6, per_weight_byte=2.9, per_primitive=130e3)
_QUANTIZED = Effort(base_bytes=125e6, floor_bytes=440e6, per_weight_byte=2.3, per_primitive=180e3)
# A runner with a model of a few kilobytes: 7.6 to 12 MB on x86-64 Linux.
_RUNTIME_BYTES = 9_000_000


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for backends that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if lane.backend != "xnnpack" or packing is None:
        return None
    fits_int8 = operators_fit_int8(profile.operators)
    static = lane.precision == "int8-static" or (lane.precision == "int8" and fits_int8)
    if lane.precision == "int8" and not fits_int8:
        packing = _DYNAMIC
    stored = _with_float_convolutions(profile) if lane.precision in {"int8-dynamic", "8da4w"} else profile
    weights = packing.size_bytes(stored)
    is_float = lane.precision in {"fp32", "fp16"}
    if is_float or lane.precision.endswith("-weights") or profile.calls("gru", "lstm", "rnn"):
        arithmetic: GraphArithmetic = "float"
    else:
        arithmetic = "static" if static else "mixed" if lane.precision == "int8" else "dynamic"
    return Footprint(
        size_bytes=weights + graph_bytes(stored, packing, arithmetic),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _COPIED),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (4 if static else 2 if lane.precision == "fp16" else 1),
        export_peak_bytes=(_FLOAT if is_float else _QUANTIZED).peak_bytes(profile),
        arithmetic=_ARITHMETIC.get(lane.precision, "int8"),
    )


def _with_float_convolutions(profile: ModelProfile) -> ModelProfile:
    """The weights of convolutions that XNNPACK's quantizer leaves alone where ranges are chosen at run time, as of another kind.

    It takes those over two dimensions that are not depthwise, and no ReLU follows.
    """
    weights = tuple(
        msgspec.structs.replace(weight, kinds=("other",)) if weight.kinds == ("conv",) and not _is_taken(weight) else weight
        for weight in profile.weights
    )
    return msgspec.structs.replace(profile, weights=weights)


def _is_taken(weight: Weight) -> bool:
    return len(weight.shape) == 4 and weight.shape[1] > 1 and not weight.before_relu  # noqa: PLR2004 - out, in, height, width
