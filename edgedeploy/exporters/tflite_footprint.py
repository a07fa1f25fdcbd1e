"""What a ``.tflite`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Arithmetic, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8

_PACKED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
_LAYERS: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8}
_PACKINGS = {
    "fp32": Packing(lookups_done=True),
    "int8": Packing(bits=_LAYERS, lookups_done=True),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "fp16": "fp32"}

# Found on the models of benchmarks/predictions that are named there as those to calibrate with. An operator's path of
# modules is written as the name of its output, its weight and its bias.
_BYTES_PER_PATH_CHAR = 3.0
_BYTES_PER_PRIMITIVE = 90
_BYTES_EVER = 4_000
_SDK_BYTES = 330e6
_PER_WEIGHT_BYTE = 2.0
_PER_PRIMITIVE = 30e3


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for precisions that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if packing is None:
        return None
    weights = packing.size_bytes(profile)
    static = lane.precision == "int8-static" or (lane.precision == "int8" and operators_fit_int8(profile.operators))
    return Footprint(
        size_bytes=round(
            weights + _BYTES_EVER + _BYTES_PER_PRIMITIVE * profile.primitives + _BYTES_PER_PATH_CHAR * profile.path_chars
        ),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _PACKED),
        activation_bytes=profile.activation_bytes // (4 if static else 1),
        export_peak_bytes=round(
            profile.loaded_rss_bytes + _SDK_BYTES + _PER_WEIGHT_BYTE * profile.weight_bytes + _PER_PRIMITIVE * profile.primitives
        ),
        arithmetic=_ARITHMETIC.get(lane.precision, "int8"),
    )
