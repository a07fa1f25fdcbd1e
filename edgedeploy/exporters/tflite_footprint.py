"""What a ``.tflite`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Arithmetic, Effort, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.int8_scope import operators_fit_int8

_COPIED: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent"})
_EIGHT: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8, "embedding": 8}
_FOUR: dict[WeightKind, float] = {"linear": 4, "conv": 4, "recurrent": 4, "embedding": 4}
_STATIC = Packing(bits=_EIGHT, scale_bytes=24, lookups_done=True, shared_once=True)
_WEIGHTS_ALONE = Packing(bits=_EIGHT, scale_bytes=12, lookups_done=True, shared_once=True)
_PACKINGS = {
    "fp32": Packing(lookups_done=True, shared_once=True),
    "fp16": Packing(otherwise=16, lookups_done=True, shared_once=True),
    "int8": _STATIC,
    "int8-static": _STATIC,
    "16x8": _STATIC,
    "int8-dynamic": _WEIGHTS_ALONE,
    "int8-weights": _WEIGHTS_ALONE,
    "int4-weights": Packing(bits=_FOUR, scale_bytes=12, lookups_done=True, shared_once=True),
    "8da4w": Packing(bits={**_EIGHT, "linear": 4}, scale_bytes=2, group=32, lookups_done=True, shared_once=True),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32", "fp16": "fp32", "int8-weights": "fp32", "int4-weights": "fp32"}
_STATIC_ACTIVATIONS = {"int8-static": 4, "16x8": 2}

# Found by benchmarks/predictions on the models it calibrates with. A quantized weight keeps a scale (4 bytes) and a zero
# point (8) per channel, and where all is static the bias does too.
_BYTES_PER_PRIMITIVE = 320
_BYTES_PER_PRIMITIVE_OF_STEPS = 180  # of recurrent layers, written out step by step
_STATIC_BYTES_EVER, _BYTES_PER_STATIC_PRIMITIVE = 700, 350
_MIXED_BYTES_EVER, _BYTES_PER_MIXED_PRIMITIVE = 5_400, 125
_FLOAT = Effort(base_bytes=310e6, floor_bytes=650e6, per_weight_byte=4.0, per_primitive=100e3)
_QUANTIZED = Effort(base_bytes=320e6, floor_bytes=650e6, per_weight_byte=4.9, per_primitive=100e3)
# A runner with a model of a few kilobytes: 10 to 18 MB on x86-64 Linux.
_RUNTIME_BYTES = 12_000_000


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for precisions that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if packing is None:
        return None
    weights = packing.size_bytes(profile)
    everything = lane.precision == "int8" and operators_fit_int8(profile.operators)
    effort = _FLOAT if lane.precision == "fp32" else _QUANTIZED
    return Footprint(
        size_bytes=weights + _graph_bytes(profile, lane.precision, everything=everything),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _COPIED),
        runtime_bytes=_RUNTIME_BYTES,
        activation_bytes=profile.activation_bytes // (4 if everything else _STATIC_ACTIVATIONS.get(lane.precision, 1)),
        export_peak_bytes=effort.peak_bytes(profile),
        arithmetic=_ARITHMETIC.get(lane.precision, "int8"),
    )


def _graph_bytes(profile: ModelProfile, precision: str, *, everything: bool) -> int:
    """What the file holds besides weights."""
    if profile.calls("gru", "lstm", "rnn"):
        return _BYTES_PER_PRIMITIVE_OF_STEPS * profile.primitives
    if precision == "int8" and not everything:
        return _MIXED_BYTES_EVER + _BYTES_PER_MIXED_PRIMITIVE * profile.primitives
    if precision in {"int8", *_STATIC_ACTIVATIONS}:
        return _STATIC_BYTES_EVER + _BYTES_PER_STATIC_PRIMITIVE * profile.primitives
    return _BYTES_PER_PRIMITIVE * profile.primitives
