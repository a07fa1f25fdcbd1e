"""What a ``.pte`` for XNNPACK will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Arithmetic, Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8

# Layers whose weights XNNPACK copies into the order of its kernels.
_COPIED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
_LAYERS: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8, "embedding": 8, "lookup": 8}
_MATRICES: dict[WeightKind, float] = {"linear": 8, "recurrent": 8, "embedding": 8, "lookup": 8}
_NIBBLES: dict[WeightKind, float] = {"linear": 4, "recurrent": 4, "embedding": 8, "lookup": 8}
_PACKINGS = {
    "fp32": Packing(),
    "fp16": Packing(otherwise=16),
    "int8": Packing(bits=_LAYERS, scale_bytes=8),
    "int8-static": Packing(bits=_LAYERS, scale_bytes=8),
    "int8-dynamic": Packing(bits=_LAYERS, scale_bytes=8),
    "int8-weights": Packing(bits=_MATRICES, scale_bytes=8),
    "int4-weights": Packing(bits=_NIBBLES, scale_bytes=8),
    "8da4w": Packing(bits=_NIBBLES, group=32, scale_bytes=2),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "fp16": "fp16", "int8-weights": "fp32", "int4-weights": "fp32"}

# Found by benchmarks/predictions on the models it calibrates with.
_BYTES_EVER = {"fp32": 3_900, "fp16": 3_900}
_BYTES_PER_PRIMITIVE = {"fp32": 320, "fp16": 320}
_QUANTIZED_BYTES_EVER = 5_500
_BYTES_PER_QUANTIZED_PRIMITIVE = 410
_FLOAT = Effort(base_bytes=90e6, floor_bytes=425e6, per_weight_byte=2.9, per_primitive=130e3)
_QUANTIZED = Effort(base_bytes=125e6, floor_bytes=440e6, per_weight_byte=2.3, per_primitive=180e3)
# A runner with a model of a few kilobytes: 7.6 to 12 MB on x86-64 Linux.
_RUNTIME_BYTES = 9_000_000


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for backends that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if lane.backend != "xnnpack" or packing is None:
        return None
    weights = packing.size_bytes(profile)
    static = lane.precision == "int8-static" or (lane.precision == "int8" and operators_fit_int8(profile.operators))
    per_primitive = _BYTES_PER_PRIMITIVE.get(lane.precision, _BYTES_PER_QUANTIZED_PRIMITIVE)
    effort = _FLOAT if lane.precision in {"fp32", "fp16"} else _QUANTIZED
    return Footprint(
        size_bytes=weights + _BYTES_EVER.get(lane.precision, _QUANTIZED_BYTES_EVER) + per_primitive * profile.primitives,
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _COPIED),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (4 if static else 2 if lane.precision == "fp16" else 1),
        export_peak_bytes=effort.peak_bytes(profile),
        arithmetic=_ARITHMETIC.get(lane.precision, "int8"),
    )
