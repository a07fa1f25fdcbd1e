"""What tflite-runtime 2.14 is said not to compute, without any SDK. Each case was seen to fail, or be wrong, in it."""

from __future__ import annotations

import pytest

from edgedeploy.exporters.tflite_compatibility import Incompatibility, incompatibilities
from edgedeploy.exporters.tflite_graph import Graph, OperatorUse, TensorUse


def _tensor(kind: str, shape: tuple[int, ...] = (1, 8), *, scales: int = 0, constant: bool = False) -> TensorUse:
    return TensorUse(index=0, name="t", type=kind, shape=shape, scales=scales, constant=constant)


_ACTIVATIONS = _tensor("FLOAT32")
_PER_CHANNEL = _tensor("INT8", (8, 8), scales=8, constant=True)
_PER_TENSOR = _tensor("INT8", (8, 8), scales=1, constant=True)


def _checked(
    operator: str, *inputs: TensorUse | None, output: TensorUse = _ACTIVATIONS, version: int = 1
) -> tuple[Incompatibility, ...]:
    use = OperatorUse(operator=operator, version=version, inputs=inputs, outputs=(output,))
    return incompatibilities([Graph(signatures=("serving_default",), inputs=(), outputs=(), operators=(use,))])


@pytest.mark.parametrize("operator", ["FULLY_CONNECTED", "BATCH_MATMUL"])
def test_a_scale_per_channel_beside_floats_is_silently_wrong(operator: str) -> None:
    (found,) = _checked(operator, _ACTIVATIONS, _PER_CHANNEL)
    assert found.silent
    assert operator in found.reason
    assert "first scale" in found.reason
    assert not _checked(operator, _ACTIVATIONS, _PER_TENSOR)
    assert not _checked(operator, _tensor("INT8", scales=1), _PER_CHANNEL)


def test_an_embedding_is_judged_by_what_it_gives() -> None:
    rows = _tensor("INT32")
    assert _checked("EMBEDDING_LOOKUP", rows, _PER_CHANNEL)[0].silent
    assert not _checked("EMBEDDING_LOOKUP", rows, _PER_TENSOR)
    assert not _checked("EMBEDDING_LOOKUP", rows, _tensor("FLOAT32", (8, 8), constant=True))


@pytest.mark.parametrize("operator", ["FULLY_CONNECTED", "DEQUANTIZE"])
def test_four_bits_have_no_kernel(operator: str) -> None:
    (found,) = _checked(operator, _ACTIVATIONS, _tensor("INT4", (8, 8), scales=8, constant=True))
    assert not found.silent
    assert "INT4" in found.reason


@pytest.mark.parametrize(
    ("operator", "kind", "wrong"),
    [("DIV", "INT8", True), ("SQRT", "INT8", True), ("GELU", "INT8", False), ("RSQRT", "INT16", True), ("ADD", "INT16", False)],
)
def test_kernels_lack_some_types(operator: str, kind: str, *, wrong: bool) -> None:
    assert bool(_checked(operator, _tensor(kind, scales=1))) == wrong


@pytest.mark.parametrize(("shape", "wrong"), [((5, 64), False), ((1, 5, 64), True), ((1, 1, 64), True)])
def test_sixteen_bits_with_a_bias_are_right_for_matrices_only(shape: tuple[int, ...], *, wrong: bool) -> None:
    given, bias = _tensor("INT16", shape, scales=1), _tensor("INT64", (8,), scales=8, constant=True)
    assert bool(_checked("FULLY_CONNECTED", given, _PER_CHANNEL, bias)) == wrong
    assert not _checked("FULLY_CONNECTED", given, _PER_CHANNEL, None)


def test_weights_that_are_computed_have_no_kernel_in_sixteen_bits() -> None:
    assert _checked("FULLY_CONNECTED", _tensor("INT16", scales=1), _tensor("INT16", scales=1))


def test_a_deconvolution_has_no_int8_weights_beside_floats() -> None:
    shape = _tensor("INT32", (4,), constant=True)
    assert _checked("TRANSPOSE_CONV", shape, _PER_CHANNEL, _ACTIVATIONS)
    assert not _checked("TRANSPOSE_CONV", shape, _PER_CHANNEL, _tensor("INT8", scales=1))


@pytest.mark.parametrize(
    ("operator", "version", "wrong"),
    [("GATHER_ND", 4, False), ("GATHER_ND", 5, True), ("CONV_2D", 8, True), ("STABLEHLO_COMPOSITE", 1, True), ("TANH", 9, False)],
)
def test_versions_beyond_what_it_registers_are_named(operator: str, version: int, *, wrong: bool) -> None:
    found = _checked(operator, _ACTIVATIONS, version=version)
    assert bool(found) == wrong
    if found:
        assert f"{operator} version {version} (FLOAT32)" in found[0].reason


def test_one_complaint_per_operator() -> None:
    both_too_new_and_narrow = _checked("FULLY_CONNECTED", _ACTIVATIONS, _tensor("INT4", constant=True, scales=8), version=14)
    assert len(both_too_new_and_narrow) == 1
