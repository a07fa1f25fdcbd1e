"""Footprints by lane: which weights shrink in which format."""

from __future__ import annotations

import msgspec
import pytest
from unit.test_prediction import profile, weight

from edgedeploy import registry
from edgedeploy.domain.footprint import Footprint
from edgedeploy.domain.profile import Weight
from edgedeploy.domain.target import Lane

# 4 MB of each kind in float32.
MODEL = profile(weight("linear", 1000, 1000), weight("conv", 1000, 1000, 1, 1), weight("embedding", 10_000, 100))


def of(exporter: str, precision: str, backend: str = "") -> Footprint | None:
    lane = Lane(exporter=exporter, backend=backend or ("mlprogram" if exporter == "coreml" else "xnnpack"), precision=precision)
    return registry.exporter(exporter).footprint(MODEL, lane)


@pytest.mark.parametrize(
    ("exporter", "precision", "megabytes"),
    [
        ("executorch", "fp32", 12.0),
        ("executorch", "fp16", 8.0),  # convolutions stay in float32
        ("executorch", "int8", 3.0),
        ("executorch", "int8-weights", 6.0),  # convolutions stay in float32
        ("executorch", "8da4w", 5.5),
        ("tflite", "fp32", 12.0),
        ("coreml", "fp32", 12.0),
        ("coreml", "fp16", 6.0),
        ("coreml", "int8-weights", 3.0),
        ("coreml", "int4-weights", 1.6),
    ],
)
def test_sizes(exporter: str, precision: str, megabytes: float) -> None:
    found = of(exporter, precision)
    assert found is not None
    # Scales and the graph come on top.
    assert megabytes * 1e6 <= found.size_bytes <= megabytes * 1e6 * 1.13
    assert found.weight_bytes <= found.size_bytes
    assert found.export_peak_bytes > MODEL.loaded_rss_bytes + 12_000_000


def test_convolutions_that_are_float_where_ranges_are_chosen_at_run_time() -> None:
    taken = weight("conv", 64, 64, 3, 3)
    left = (msgspec.structs.replace(taken, before_relu=True), weight("conv", 64 * 64, 1, 3, 3), weight("conv", 64, 64, 9))
    lane = Lane(exporter="executorch", backend="xnnpack", precision="int8-dynamic")

    def size_bytes(one: Weight) -> int:
        found = registry.exporter("executorch").footprint(profile(one), lane)
        assert found is not None
        return found.size_bytes

    assert size_bytes(taken) < 64 * 64 * 9 + 5_000
    assert all(size_bytes(one) > 4 * 64 * 64 * 9 for one in left)


def test_arithmetic_is_that_of_the_kernels() -> None:
    assert [of("executorch", p).arithmetic for p in ("fp32", "fp16", "int8", "int8-weights")] == ["fp32", "fp16", "int8", "fp32"]  # type: ignore[union-attr]
    assert of("coreml", "fp16").arithmetic is None  # type: ignore[union-attr]


def test_what_nobody_has_measured_is_not_predicted() -> None:
    assert of("executorch", "fp16", "qnn") is None
    assert of("executorch", "fp32", "vulkan") is None
    assert of("coreml", "sparse-int8") is None


def test_every_lane_of_every_exporter_can_be_asked() -> None:
    for name in ("executorch", "tflite", "coreml"):
        exporter = registry.exporter(name)
        for lane in exporter.lanes():
            found = exporter.footprint(MODEL, lane)
            assert found is None or found.size_bytes > 1_000_000
