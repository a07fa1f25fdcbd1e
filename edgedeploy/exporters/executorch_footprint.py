"""What a ``.pte`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Arithmetic, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8

# Layers whose weights XNNPACK copies into the order of its kernels.
_PACKED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
_LAYERS: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8}
_MATRICES: dict[WeightKind, float] = {"linear": 8, "recurrent": 8}
_IN_GROUPS: dict[WeightKind, float] = {"linear": 4, "recurrent": 4}
# Embeddings stay in float32 but where weights alone are quantized.
_PACKINGS = {
    "fp32": Packing(),
    "fp16": Packing(otherwise=16),
    "int8": Packing(bits=_LAYERS),
    "int8-static": Packing(bits=_LAYERS),
    "int8-dynamic": Packing(bits=_MATRICES),
    "8da4w": Packing(bits=_IN_GROUPS, group=32, scale_bytes=2),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "fp16": "fp16"}

# Found on the models of benchmarks/predictions that are named there as those to calibrate with.
_BYTES_PER_PRIMITIVE = 200
_BYTES_EVER = 4_000
_SDK_BYTES = 130e6
_PER_WEIGHT_BYTE = 2.0
_PER_PRIMITIVE = 30e3


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for backends and precisions that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if lane.backend != "xnnpack" or packing is None:
        return None
    weights = packing.size_bytes(profile)
    static = lane.precision == "int8-static" or (lane.precision == "int8" and operators_fit_int8(profile.operators))
    activations = max(method.activation_bytes for method in profile.methods)
    return Footprint(
        size_bytes=weights + _BYTES_EVER + _BYTES_PER_PRIMITIVE * profile.primitives,
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _PACKED),
        activation_bytes=activations // (4 if static else 2 if lane.precision == "fp16" else 1),
        export_peak_bytes=round(
            profile.loaded_rss_bytes + _SDK_BYTES + _PER_WEIGHT_BYTE * profile.weight_bytes + _PER_PRIMITIVE * profile.primitives
        ),
        arithmetic=_ARITHMETIC.get(lane.precision, "int8"),
    )
