"""What a ``.tflite`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Arithmetic, Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8

_COPIED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
_LAYERS: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8}
_PACKINGS = {
    "fp32": Packing(lookups_done=True),
    "int8": Packing(bits=_LAYERS, scale_bytes=24, lookups_done=True),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "int8": "int8"}

# Found by benchmarks/predictions on the models it calibrates with. An operator's path of modules is written as the name
# of its output, its weight and its bias; a quantized tensor keeps a scale (4 bytes)
# and a zero point (8 bytes) per channel, and so does the bias.
_BYTES_PER_PATH_CHAR = 2.9
_BYTES_PER_PRIMITIVE = 90
_BYTES_EVER = 3_000
_EFFORTS = {
    "fp32": Effort(base_bytes=310e6, floor_bytes=650e6, per_weight_byte=4.0, per_primitive=100e3),
    "int8": Effort(base_bytes=320e6, floor_bytes=650e6, per_weight_byte=4.9, per_primitive=100e3),
}


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for precisions that nobody has measured."""
    packing, effort = _PACKINGS.get(lane.precision), _EFFORTS.get(lane.precision)
    if packing is None or effort is None:
        return None
    weights = packing.size_bytes(profile)
    static = lane.precision == "int8" and operators_fit_int8(profile.operators)
    return Footprint(
        size_bytes=round(
            weights + _BYTES_EVER + _BYTES_PER_PRIMITIVE * profile.primitives + _BYTES_PER_PATH_CHAR * profile.path_chars
        ),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _COPIED),
        activation_bytes=profile.activation_bytes // (4 if static else 1),
        export_peak_bytes=effort.peak_bytes(profile),
        arithmetic=_ARITHMETIC[lane.precision],
    )
