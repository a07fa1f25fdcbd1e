"""Bytes besides weights: what one more operator, weight or scale adds in each format."""

from __future__ import annotations

import msgspec
from unit.test_prediction import profile, weight

from edgedeploy.domain.footprint import Packing
from edgedeploy.domain.profile import ModelProfile, Weight
from edgedeploy.exporters.coreml_program_bytes import program_bytes
from edgedeploy.exporters.executorch_graph_bytes import graph_bytes as executorch_bytes
from edgedeploy.exporters.tflite_graph_bytes import graph_bytes as tflite_bytes

FLOAT, INT8 = Packing(), Packing(bits={"linear": 8, "conv": 8})


def model(*weights: Weight, label_bytes: int = 10, **steps: int) -> ModelProfile:
    made = profile(*weights)
    (method,) = made.methods
    return msgspec.structs.replace(
        made, methods=(msgspec.structs.replace(method, steps=steps, operators=steps, label_bytes=label_bytes),)
    )


class TestExecutorch:
    def test_an_operator_of_xnnpack_is_a_node_and_its_value(self) -> None:
        assert executorch_bytes(model(add=3), FLOAT, "float") - executorch_bytes(model(add=2), FLOAT, "float") == 44 + 59

    def test_what_kernels_run_interrupts_the_graph(self) -> None:
        more = executorch_bytes(model(native_layer_norm=2), FLOAT, "float")
        assert more - executorch_bytes(model(native_layer_norm=1), FLOAT, "float") == 2 * 210 + 525

    def test_a_weight_with_scales(self) -> None:
        def adds(packing: Packing) -> int:
            return executorch_bytes(model(weight("linear", 8, 8)), packing, "float") - executorch_bytes(model(), packing, "float")

        assert adds(FLOAT) == 185 + 115
        assert adds(INT8) == 185 + 115 + 240

    def test_float_operators_in_an_int8_graph_are_converted_before_and_after(self) -> None:
        more, less = (executorch_bytes(model(silu=n), FLOAT, "static") for n in (2, 1))
        assert more - less == (2 + 2) * 123


class TestTflite:
    def test_fused_operators_are_none(self) -> None:
        assert tflite_bytes(model(conv2d=1, relu=5), "float") == tflite_bytes(model(conv2d=1), "float")

    def test_long_paths_make_long_names(self) -> None:
        short, long = (tflite_bytes(model(conv2d=1, folded_batch_norm=1, label_bytes=n), "float") for n in (10, 50))
        assert long - short > 40 * 15

    def test_small_weights_are_widened_by_an_operator_each(self) -> None:
        made = model(weight("linear", 8, 8), linear=1)
        assert tflite_bytes(made, "unpacked") - tflite_bytes(made, "float") > 93

    def test_layers_in_a_mixed_graph_are_converted(self) -> None:
        assert tflite_bytes(model(linear=1), "mixed") - tflite_bytes(model(linear=1), "float") > 2 * 93


class TestCoreml:
    def test_an_operation_and_its_attributes(self) -> None:
        one = program_bytes(model(gelu=1), FLOAT, half=False, static=False)
        assert program_bytes(model(gelu=2), FLOAT, half=False, static=False) - one == 108 + 148

    def test_int8_values_are_quantized_and_dequantized(self) -> None:
        half, static = (program_bytes(model(linear=3), FLOAT, half=True, static=static) for static in (False, True))
        assert static - half == (1 + 3) * 780

    def test_a_gelu_that_was_composed_is_one_operation(self) -> None:
        composed = model(pow=1, tanh=1, mul=4, add=2)
        apart = model(pow=1, mul=4, add=2, sigmoid=1)
        assert program_bytes(composed, FLOAT, half=False, static=False) < program_bytes(apart, FLOAT, half=False, static=False)
