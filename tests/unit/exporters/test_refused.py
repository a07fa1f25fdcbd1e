"""What lanes refuse, from profiles alone. That real exports do is in tests/integration/test_refused.py."""

from __future__ import annotations

import msgspec
import pytest
from unit.stages.planned import target
from unit.test_prediction import profile, weight

from edgedeploy import registry
from edgedeploy.domain.artifact import DynamicDim, TensorSpec
from edgedeploy.domain.profile import ModelProfile, State
from edgedeploy.domain.target import Lane

IPHONE = target(os="ios", min_os="17")
LINEAR = profile(weight("linear", 8, 64))


def of_method(base: ModelProfile = LINEAR, **changes: object) -> ModelProfile:
    return msgspec.structs.replace(base, methods=(msgspec.structs.replace(base.methods[0], **changes),))


def told(found: ModelProfile, exporter: str, precision: str = "fp32", backend: str = "") -> list[tuple[str, str]]:
    lane = Lane(exporter=exporter, backend=backend or ("mlprogram" if exporter == "coreml" else "xnnpack"), precision=precision)
    obstacles = registry.exporter(exporter).refusals(found, lane, IPHONE)
    assert all(one.next_step for one in obstacles)
    return [(one.what, one.where) for one in obstacles]


def test_operators_with_their_lines_and_by_their_overloads() -> None:
    found = of_method(lines={"sort.default": "model.py:3: `x.sort()`", "median.dim": "model.py:4", "relu.default": "model.py:5"})
    assert told(found, "executorch") == [
        ("ExecuTorch cannot export operator aten.median.dim", "model.py:4"),
        ("ExecuTorch cannot export operator aten.sort", "model.py:3: `x.sort()`"),
    ]
    assert [what.split()[0] for what, _ in told(found, "tflite")] == ["litert-torch"] * 2
    assert told(found, "coreml") == []
    assert told(of_method(lines={"median.default": ""}), "coreml") == [("coremltools cannot export operator aten.median", "")]


def test_delegates_with_operators_of_their_own_are_not_judged_by_xnnpack_s() -> None:
    found = of_method(lines={"sort.default": ""})
    assert told(found, "executorch", "fp32", "portable") != []
    assert told(found, "executorch", "fp32", "coreml") == []


def test_sizes_without_an_upper_bound() -> None:
    def moving(high: int | None) -> ModelProfile:
        dims = (DynamicDim(dim=0, low=1, high=9), DynamicDim(dim=1, low=1, high=high))
        return of_method(inputs=(TensorSpec(name="ids", dtype="int64", shape=(1, 4), dynamic=dims),))

    for exporter in ("executorch", "coreml"):
        assert [where for _, where in told(moving(None), exporter)] == ["dimension 1 of ids"]
        assert told(moving(512), exporter) == []
    assert told(moving(None), "tflite") == []


def test_state_and_what_an_old_system_does_not_have() -> None:
    kept = msgspec.structs.replace(LINEAR, states=(State(name="cache", dtype="float32", size_bytes=4, zeros=True),))
    assert told(kept, "tflite") == [("TFLite has no place for a model with state", "cache")]
    assert told(kept, "coreml") == [("a model with state needs iOS 18 or newer", "min_os")]
    assert told(kept, "executorch", "fp32", "coreml") == [("a model with state needs iOS 18 or newer", "min_os")]
    assert told(kept, "executorch") == []
    assert told(LINEAR, "coreml", "int4-weights") == [("Core ML at int4-weights needs iOS 18 or newer", "min_os")]
    two = msgspec.structs.replace(LINEAR, methods=LINEAR.methods * 2)
    assert told(two, "coreml") == [("a package with several methods needs iOS 18 or newer", "min_os")]


def test_states_that_core_ml_has_no_numbers_for() -> None:
    states = (
        State(name="count", dtype="int64", size_bytes=8, zeros=True),
        State(name="mean", dtype="float32", size_bytes=4, zeros=False),
    )
    found = msgspec.structs.replace(LINEAR, states=states)
    assert [where for _, where in told(found, "coreml")] == ["min_os", "count", "mean"]


def test_weights_in_bfloat16() -> None:
    found = profile(msgspec.structs.replace(weight("linear", 8, 64), dtype="bfloat16", name="inner.head.weight"))
    assert told(found, "tflite") == [("litert-torch cannot export weights in bfloat16", "head.weight")]
    assert told(found, "coreml") == [("coremltools cannot export weights in bfloat16", "head.weight")]
    assert [where for _, where in told(found, "executorch")] == ["head.weight"]
    assert told(found, "executorch", "int8") == []


@pytest.mark.parametrize(
    ("exporter", "shape", "taken"),
    [
        ("executorch", (8, 64), True),
        ("executorch", (64, 8), False),
        ("executorch", (64, 32, 1, 1), False),
        ("tflite", (64, 8), True),  # which way round it will lie is the converter's business
        ("tflite", (8, 24), False),
    ],
)
def test_groups_of_32(exporter: str, shape: tuple[int, ...], taken: bool) -> None:
    assert (told(profile(weight("linear", *shape)), exporter, "8da4w") == []) is taken


def test_groups_are_for_linear_layers() -> None:
    for exporter in ("executorch", "tflite"):
        assert told(profile(weight("conv", 64, 32), weight("embedding", 64, 32)), exporter, "8da4w") != []


def test_precisions_of_weights_where_nothing_has_any() -> None:
    found = of_method(operators={"relu": 1}, macs=0)
    for precision in ("int8-dynamic", "int8-weights", "int4-weights"):
        assert len(told(found, "executorch", precision)) == len(told(found, "tflite", precision)) == 1
        assert told(of_method(operators={"embedding": 1}, macs=0), "executorch", precision) == []
        assert told(of_method(operators={"embedding": 1}, macs=0), "tflite", precision) == []
    assert told(of_method(operators={"conv2d": 1}), "executorch", "int8-dynamic") == []
    assert told(of_method(operators={"conv1d": 1}), "executorch", "int8-dynamic") != []
