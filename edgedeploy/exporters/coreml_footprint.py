"""What an ``.mlpackage`` will weigh, and what its export takes. Pure: needs no SDK."""

from __future__ import annotations

from edgedeploy.domain.footprint import Arithmetic, Footprint, Packing
from edgedeploy.domain.profile import ModelProfile, WeightKind
from edgedeploy.domain.target import Lane

_WEIGHTS: frozenset[WeightKind] = frozenset({"linear", "conv", "recurrent", "embedding", "other"})
_EIGHT: dict[WeightKind, float] = {"linear": 8, "conv": 8, "recurrent": 8, "embedding": 8}
_PACKINGS = {
    "fp32": Packing(lookups_done=True),
    "int8": Packing(bits=_EIGHT, otherwise=16, scale_bytes=2, least_elements=2048, lookups_done=True),
}
_ARITHMETIC: dict[str, Arithmetic] = {"fp32": "fp32"}

# Found on the models of benchmarks/predictions that are named there as those to calibrate with.
_BYTES_PER_PRIMITIVE = 720
_BYTES_EVER = 4_000
_SDK_BYTES = 180e6
_PER_WEIGHT_BYTE = 2.0
_PER_PRIMITIVE = 30e3


def footprint(profile: ModelProfile, lane: Lane) -> Footprint | None:
    """Of an export by a lane; None for precisions that nobody has measured."""
    packing = _PACKINGS.get(lane.precision)
    if packing is None:
        return None
    weights = packing.size_bytes(profile)
    half = lane.precision != "fp32"
    return Footprint(
        size_bytes=round(weights + _BYTES_EVER + _BYTES_PER_PRIMITIVE * profile.primitives),
        weight_bytes=weights,
        packed_bytes=packing.shrunk_bytes(profile, _WEIGHTS),
        activation_bytes=profile.activation_bytes // (2 if half else 1),
        export_peak_bytes=round(
            profile.loaded_rss_bytes + _SDK_BYTES + _PER_WEIGHT_BYTE * profile.weight_bytes + _PER_PRIMITIVE * profile.primitives
        ),
        arithmetic="fp16" if half else "fp32",
    )
