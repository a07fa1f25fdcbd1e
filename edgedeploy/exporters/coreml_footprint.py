"""What an ``.mlpackage`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8

_WEIGHTS: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent", "embedding", "other"})
_EIGHT: dict[WeightKind, float] = dict.fromkeys(_WEIGHTS, 8)
_FOUR: dict[WeightKind, float] = dict.fromkeys(_WEIGHTS, 4)
_INT8 = Packing(bits=_EIGHT, otherwise=16, scale_bytes=2, least_elements=256, lookups_done=True, shared_once=True)
_PACKINGS = {
    "fp32": Packing(lookups_done=True, shared_once=True),
    "fp16": Packing(otherwise=16, lookups_done=True, shared_once=True),
    "int8": _INT8,
    "int8-static": _INT8,
    "int8-weights": _INT8,
    "int4-weights": Packing(
        bits=_FOUR, otherwise=16, scale_bytes=2, group=32, least_elements=256, lookups_done=True, shared_once=True
    ),
    "palette4": Packing(bits=_FOUR, otherwise=16, scale_bytes=2, least_elements=1024, lookups_done=True, shared_once=True),
}

# Found by benchmarks/predictions on the models it calibrates with.
# Recurrent layers are loops there: operators as PyTorch has them count, not what a converter takes them apart to.
_BYTES_EVER = 3_000
_BYTES_PER_OPERATOR = 270
_BYTES_PER_WEIGHT = 170
_BYTES_PER_COMPRESSED_WEIGHT = 400  # scales are constants of their own
_BYTES_PER_STATIC_CALL = 2_050  # quantized inputs, weights and outputs
_STATIC = ("linear", "conv", "add", "mul", "matmul", "bmm", "scaled_dot")
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
    return Footprint(
        size_bytes=weights + _BYTES_EVER + _text_bytes(profile, lane.precision),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _WEIGHTS),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (2 if half else 1),
        export_peak_bytes=effort.peak_bytes(profile),
        arithmetic=None,  # Core ML chooses between CPU, GPU and Neural Engine
    )


def _text_bytes(profile: ModelProfile, precision: str) -> int:
    """The program, in its two forms."""
    operators = _BYTES_PER_OPERATOR * profile.calls("")
    if precision == "int8-static" or (precision == "int8" and operators_fit_int8(profile.operators)):
        return operators + _BYTES_PER_STATIC_CALL * profile.calls(*_STATIC)
    each = _BYTES_PER_WEIGHT if precision in {"fp32", "fp16"} else _BYTES_PER_COMPRESSED_WEIGHT
    return operators + each * profile.read_weights
