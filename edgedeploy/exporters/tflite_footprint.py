"""What a ``.tflite`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from functools import partial

from edgedeploy.domain.footprint import Arithmetic, Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8
from edgedeploy.exporters.tflite_graph_bytes import SCALE_BYTES, graph_bytes
from edgedeploy.exporters.tflite_graph_bytes import Arithmetic as GraphArithmetic

_COPIED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
_EIGHT: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8, "embedding": 8}
_FOUR: dict[WeightKind, float] = {"linear": 4, "conv": 4, "recurrent": 4, "embedding": 4}
_ALIGNMENT = 16  # of a buffer


_packing = partial(
    Packing,
    scale_bytes=SCALE_BYTES,
    lookups_done=True,
    shared_once=True,
    zero_biases_vanish=True,
    statistics_vanish=True,
    alignment=_ALIGNMENT,
)
_STATIC = _packing(bits=_EIGHT, scaled=frozenset({"bias"}))
_WEIGHTS_ALONE = _packing(bits=_EIGHT)
_PACKINGS = {
    "fp32": _packing(),
    "fp16": _packing(otherwise=16),
    "int8": _STATIC,
    "int8-static": _STATIC,
    "16x8": _STATIC,
    "int8-dynamic": _WEIGHTS_ALONE,
    "int8-weights": _WEIGHTS_ALONE,
    "int4-weights": _packing(bits=_FOUR),
    "8da4w": _packing(bits={**_EIGHT, "linear": 4}, scale_bytes=2, group=32),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "fp16": "fp32", "int8-weights": "fp32", "int4-weights": "fp32"}
_GRAPHS: dict[str, GraphArithmetic] = {
    "int8": "mixed",
    "fp16": "unpacked",
    "int8-weights": "unpacked",
    "int4-weights": "unpacked",
}
_STATIC_ACTIVATIONS = {"int8-static": 4, "16x8": 2}

# Found by benchmarks/predictions on the models it calibrates with.
_FLOAT = Effort(base_bytes=310e6, floor_bytes=650e6, per_weight_byte=4.0, per_primitive=100e3)
_QUANTIZED = Effort(base_bytes=320e6, floor_bytes=650e6, per_weight_byte=4.9, per_primitive=100e3)
# A runner with a model of a few kilobytes: 10 to 18 MB on x86-64 Linux.
_RUNTIME_BYTES = 12_000_000


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for precisions that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if packing is None:
        return None
    everything = lane.precision == "int8" and operators_fit_int8(profile.operators)
    static = everything or lane.precision in _STATIC_ACTIVATIONS
    weights = packing.size_bytes(profile)
    return Footprint(
        size_bytes=weights + graph_bytes(profile, "static" if static else _GRAPHS.get(lane.precision, "float")),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _COPIED),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (4 if everything else _STATIC_ACTIVATIONS.get(lane.precision, 1)),
        export_peak_bytes=(_FLOAT if lane.precision == "fp32" else _QUANTIZED).peak_bytes(profile),
        arithmetic=_ARITHMETIC.get(lane.precision, "int8"),
    )
