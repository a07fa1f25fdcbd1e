"""What an ``.mlpackage`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane

_WEIGHTS: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent", "embedding", "other"})
_EIGHT: dict[WeightKind, float] = dict.fromkeys(_WEIGHTS, 8)
_FOUR: dict[WeightKind, float] = dict.fromkeys(_WEIGHTS, 4)
_INT8 = Packing(bits=_EIGHT, otherwise=16, scale_bytes=2, least_elements=256, lookups_done=True)
_PACKINGS = {
    "fp32": Packing(lookups_done=True),
    "fp16": Packing(otherwise=16, lookups_done=True),
    "int8": _INT8,
    "int8-static": _INT8,
    "int8-weights": _INT8,
    "int4-weights": Packing(bits=_FOUR, otherwise=16, scale_bytes=2, group=32, least_elements=256, lookups_done=True),
    "palette4": Packing(bits=_FOUR, otherwise=16, scale_bytes=2, least_elements=1024, lookups_done=True),
}

# Found by benchmarks/predictions on the models it calibrates with.
_BYTES_PER_PRIMITIVE = 380
_BYTES_EVER = 4_000
_SPECIFICATION = {"fp32": 2.0}  # times its size: what float32 packages carry beside it is a second text of that length
_FLOAT = Effort(base_bytes=135e6, floor_bytes=540e6, per_weight_byte=0.6, per_primitive=90e3)
_QUANTIZED = Effort(base_bytes=130e6, floor_bytes=540e6, per_weight_byte=0.6, per_largest_byte=7.0, per_primitive=90e3)
# As of other runtimes: nobody has measured Core ML's.
_RUNTIME_BYTES = 12_000_000


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for precisions that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if packing is None:
        return None
    weights = packing.size_bytes(profile)
    half = lane.precision != "fp32"
    effort = _FLOAT if lane.precision in {"fp32", "fp16"} else _QUANTIZED
    text = _SPECIFICATION.get(lane.precision, 1.0) * _BYTES_PER_PRIMITIVE * profile.primitives
    return Footprint(
        size_bytes=round(weights + _BYTES_EVER + text),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _WEIGHTS),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (2 if half else 1),
        export_peak_bytes=effort.peak_bytes(profile),
        arithmetic=None,  # Core ML chooses between CPU, GPU and Neural Engine
    )
