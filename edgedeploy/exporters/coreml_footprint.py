"""What an ``.mlpackage`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from functools import partial

from edgedeploy.domain.footprint import Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.coreml_program_bytes import program_bytes
from edgedeploy.exporters.int8_scope import operators_fit_int8

_WEIGHTS: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent", "embedding", "other"})
_EIGHT: dict[WeightKind, float] = dict.fromkeys(_WEIGHTS, 8)
_FOUR: dict[WeightKind, float] = dict.fromkeys(_WEIGHTS, 4)
_TABLE_BYTES = 2 * 2**4  # what the 4 bits of an index can point at, in 16 bits each


_packing = partial(
    Packing,
    otherwise=16,
    scale_bytes=2,
    scales_apart=True,
    least_elements=256,
    lookups_done=True,
    shared_once=True,
    alignment=64,
    header_bytes=64,
)
_INT8 = _packing(bits=_EIGHT)
_PACKINGS = {
    "fp32": _packing(otherwise=32),
    "fp16": _packing(),
    "int8": _INT8,
    "int8-static": _INT8,
    "int8-weights": _INT8,
    "int4-weights": _packing(bits=_FOUR, group=32),
    "palette4": _packing(bits=_FOUR, scale_bytes=_TABLE_BYTES, least_elements=1024, rows_per_table=16),
}

# Found by benchmarks/predictions on the models it calibrates with.
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
    effort = _FLOAT if lane.precision in {"fp32", "fp16"} else _QUANTIZED
    static = lane.precision == "int8-static" or (lane.precision == "int8" and operators_fit_int8(profile.operators))
    return Footprint(
        size_bytes=weights + program_bytes(profile, packing, half=lane.precision != "fp32", static=static),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _WEIGHTS),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (1 if lane.precision == "fp32" else 2),
        export_peak_bytes=effort.peak_bytes(profile),
        arithmetic=None,  # Core ML chooses between CPU, GPU and Neural Engine
    )
