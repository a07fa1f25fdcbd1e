"""Precisions as recipes for AI Edge Quantizer. Imports the SDK: load it when it is needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils

from edgedeploy.errors import ExportError
from edgedeploy.exporters.tflite_graph import Graph, OperatorUse, read_graphs
from edgedeploy.exporters.tflite_masks import Samples, with_finite_masks
from edgedeploy.exporters.tflite_outliers import layers_with_outliers
from edgedeploy.exporters.tflite_outputs import with_outputs_apart, with_outputs_open
from edgedeploy.exporters.tflite_row_scales import ROW_SCALES, with_scaled_rows

_OPERATORS = qtyping.TFLOperationName
_PER_CHANNEL = qtyping.QuantGranularity.CHANNELWISE
_PER_TENSOR = qtyping.QuantGranularity.TENSORWISE
_GROUP = 32
_SIXTEEN = 16
_GROUPS = qtyping.QuantGranularity.BLOCKWISE_32
_LAYERS = (_OPERATORS.FULLY_CONNECTED, _OPERATORS.CONV_2D, _OPERATORS.DEPTHWISE_CONV_2D, _OPERATORS.CONV_2D_TRANSPOSE)
_WEIGHTED = (*_LAYERS, _OPERATORS.BATCH_MATMUL, _OPERATORS.EMBEDDING_LOOKUP)
# The only ones that AI Edge Quantizer has 4-bit weights for.
_FOUR_BIT = (_OPERATORS.FULLY_CONNECTED, _OPERATORS.BATCH_MATMUL, _OPERATORS.EMBEDDING_LOOKUP, _OPERATORS.CONV_2D)
# What tflite-runtime 2.14 does not compute right, found by running each (tests/integration/test_tflite_old_runtime.py):
# with int8 weights and float activations it takes the first scale for all channels of these;
_ONE_SCALE_WHEN_OLD = (_OPERATORS.FULLY_CONNECTED, _OPERATORS.BATCH_MATMUL, _OPERATORS.EMBEDDING_LOOKUP)
# and of these it has no kernel for int8 or int16 activations.
_FLOAT_WHEN_OLD = {
    8: (_OPERATORS.DIV, _OPERATORS.SQRT),
    16: (
        _OPERATORS.DIV,
        _OPERATORS.SQRT,
        _OPERATORS.RSQRT,
        _OPERATORS.GELU,
        _OPERATORS.SUM,
        _OPERATORS.BATCH_MATMUL,
    ),
}

_OF_FOUR_BITS = {
    "int4-weights": "it has them in linear layers, products, embeddings and plain convolutions",
    "8da4w": f"it has groups in linear layers whose rows are a multiple of {_GROUP}",
}

CALIBRATED = frozenset({"int8", "int8-static", "16x8"})
"""Precisions that need calibration inputs."""
_WITH_DYNAMIC_OPERATORS = CALIBRATED | {"int8-dynamic"}


class Quantization:
    """Quantizes one float model.

    Args:
        float_model: the bytes of the file.
        samples: calibration inputs by signature.
        everything: for ``int8``, whether activations between layers can be int8 too.
        old_runtime: the file is for tflite-runtime 2.14 (:mod:`edgedeploy.exporters.tflite_compatibility`).
    """

    def __init__(self, float_model: bytes, samples: Samples, *, everything: bool, old_runtime: bool) -> None:
        self._model = float_model
        self._samples = samples
        self._everything = everything
        self._old_runtime = old_runtime

    def run(self, precision: str) -> bytes:
        """The model in a precision of TFLite's.

        Raises:
            ExportError: nothing in the model can have that precision, or calibration gave NaN.
        """
        recipes: dict[str, Callable[[quantizer.Quantizer], None]] = {
            "fp16": self._half,
            "int8": self._static if self._everything else self._mixed,
            "int8-static": self._static,
            "int8-dynamic": self._dynamic,
            "int8-weights": self._weights,
            "int4-weights": self._four_bit_weights,
            "8da4w": self._groups,
            "16x8": self._sixteen,
        }
        if precision == "fp32":
            return self._model
        model = self._prepared(precision)
        quantizing = quantizer.Quantizer(bytearray(model))
        recipes[precision](quantizing)
        ranges = self._ranges(model, quantizing) if precision in CALIBRATED else None
        if ranges is not None and not ranges:
            raise _unchanged(precision)
        result = quantizing.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        content = with_outputs_open(bytes(result.quantized_model), self._model)
        _require_change(self._model, content, precision)
        return content

    def _prepared(self, precision: str) -> bytes:
        model = self._model
        if precision in CALIBRATED:
            model = with_outputs_apart(with_finite_masks(model, self._samples))
        if self._old_runtime and precision in _WITH_DYNAMIC_OPERATORS:
            model = with_scaled_rows(model, linear=precision == "int8-dynamic")
        return model

    def _half(self, quantizing: quantizer.Quantizer) -> None:
        quantizing.add_weight_only_config(".*", _OPERATORS.ALL_SUPPORTED, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)

    def _static(self, quantizing: quantizer.Quantizer) -> None:
        self._calibrated(quantizing, activation_bits=8)

    def _sixteen(self, quantizing: quantizer.Quantizer) -> None:
        self._calibrated(quantizing, activation_bits=16)

    def _calibrated(self, quantizing: quantizer.Quantizer, *, activation_bits: int) -> None:
        """Everything in integers between float inputs and outputs; a table of embeddings is read row by row."""
        quantizing.add_static_config(".*", _OPERATORS.ALL_SUPPORTED, activation_bits, 8)
        # Both runtimes take the first scale of a constant factor for all of its channels: 0 dB.
        quantizing.add_static_config(".*", _OPERATORS.BATCH_MATMUL, activation_bits, 8, _PER_TENSOR)
        self._dynamic_operators(quantizing, (_OPERATORS.EMBEDDING_LOOKUP,))
        if self._old_runtime and activation_bits == _SIXTEEN:
            for operator in _computed_products(self._model):
                _leave_in_float(quantizing, _only(operator.name), _OPERATORS.FULLY_CONNECTED)
        left = (_OPERATORS.INPUT, _OPERATORS.OUTPUT, *(_FLOAT_WHEN_OLD[activation_bits] if self._old_runtime else ()))
        for operator in left:
            _leave_in_float(quantizing, ".*", operator)

    def _mixed(self, quantizing: quantizer.Quantizer) -> None:
        """Layers static, those with outliers with float arithmetic, embeddings in int8, all else in float32."""
        for operator in _LAYERS:
            quantizing.add_static_config(".*", operator, 8, 8)
        self._dynamic_operators(quantizing, (_OPERATORS.EMBEDDING_LOOKUP,))
        for layer in layers_with_outliers(self._model, self._samples):
            for operator in _LAYERS:
                quantizing.add_weight_only_config(_only(layer), operator, 8)

    def _dynamic(self, quantizing: quantizer.Quantizer) -> None:
        self._dynamic_operators(quantizing, _WEIGHTED)

    def _dynamic_operators(self, quantizing: quantizer.Quantizer, operators: Iterable[qtyping.TFLOperationName]) -> None:
        for operator in operators:
            if self._old_runtime and operator == _OPERATORS.CONV_2D_TRANSPOSE:
                quantizing.add_weight_only_config(".*", operator, 8)  # its kernel has no int8 weights with float inputs
                continue
            one_scale = self._old_runtime and operator in _ONE_SCALE_WHEN_OLD
            quantizing.add_dynamic_config(".*", operator, 8, _PER_TENSOR if one_scale else _PER_CHANNEL)
        if self._old_runtime:
            _leave_in_float(quantizing, f"{re.escape(ROW_SCALES)};?$", _OPERATORS.EMBEDDING_LOOKUP)

    def _weights(self, quantizing: quantizer.Quantizer) -> None:
        quantizing.add_weight_only_config(".*", _OPERATORS.ALL_SUPPORTED, 8)

    def _four_bit_weights(self, quantizing: quantizer.Quantizer) -> None:
        """4 bits per channel; there is no kernel that unpacks blocks. What has no 4-bit form gets 8."""
        self._weights(quantizing)
        for operator in _FOUR_BIT:
            quantizing.add_weight_only_config(".*", operator, 4)

    def _groups(self, quantizing: quantizer.Quantizer) -> None:
        """Linear layers in 4 bits by groups of 32, where these divide the row; all else in int8 per channel."""
        self._dynamic(quantizing)
        for graph in read_graphs(self._model):
            for operator in graph.operators:
                if operator.operator == "FULLY_CONNECTED" and _row_length(operator) % _GROUP == 0:
                    quantizing.add_dynamic_config(_only(operator.name), _OPERATORS.FULLY_CONNECTED, 4, _GROUPS)

    def _ranges(self, model: bytes, quantizing: quantizer.Quantizer) -> dict[str, qtyping.QSV]:
        """The full range of every tensor over all samples.

        The quantizer's own ``calibrate`` takes a moving average that hardly leaves the first sample's range (smoothing
        0.95), and so clips what the others hold: a small transformer came out at 9 dB, and at 39 with full ranges.
        """
        recipes = recipe_manager.RecipeManager()
        recipes.load_quantization_recipe(quantizing.get_quantization_recipe())
        observing = calibrator.Calibrator(model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
        observing.calibrate({name: list(given) for name, given in self._samples.items()}, recipes)
        ranges: dict[str, qtyping.QSV] = observing.get_model_qsvs()
        for name, seen in ranges.items():
            if not all(np.isfinite(bound).all() for bound in seen.values()):
                raise ExportError(
                    "a value inside the model is NaN or infinite on calibration inputs",
                    where=name,
                    seen=", ".join(f"{side} {np.asarray(bound).ravel()[0]}" for side, bound in seen.items()),
                    next_step="give calibration inputs on which the model works; no range can be chosen for such a value",
                )
        return ranges


def left_in_float(content: bytes) -> tuple[int, int]:
    """Bytes of constants in float32 that layers read, and bytes of all constants."""
    constants: dict[str, tuple[str, int]] = {}
    read_by_layers: set[str] = set()
    for operator in (operator for graph in read_graphs(content) for operator in graph.operators):
        for tensor in operator.inputs:
            if tensor is not None and tensor.constant:
                constants[tensor.name] = (tensor.type, tensor.size_bytes)
                if operator.operator in _WEIGHT_INPUT and tensor == operator.input(_WEIGHT_INPUT[operator.operator]):
                    read_by_layers.add(tensor.name)
    floats = sum(size for name, (kind, size) in constants.items() if kind == "FLOAT32" and name in read_by_layers)
    return floats, sum(size for _, size in constants.values())


_WEIGHT_INPUT: Mapping[str, int] = {
    "FULLY_CONNECTED": 1,
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "TRANSPOSE_CONV": 1,
    "BATCH_MATMUL": 1,
    "EMBEDDING_LOOKUP": 1,
}


def _require_change(before: bytes, after: bytes, precision: str) -> None:
    types = _types(read_graphs(after))
    if types == _types(read_graphs(before)):
        raise _unchanged(precision)
    if precision in _OF_FOUR_BITS and "INT4*" not in types:
        raise ExportError(
            f"nothing in this model can be {precision} in TFLite",
            seen=f"no weights that AI Edge Quantizer has 4 bits for: {_OF_FOUR_BITS[precision]}",
            next_step="use int8-dynamic or int8-weights: the file would be the same",
        )


def _unchanged(precision: str) -> ExportError:
    return ExportError(
        f"nothing in this model can be {precision} in TFLite",
        seen="no operator that AI Edge Quantizer, and the engine on the target, have this precision for",
        next_step="use fp32: the file would be the same",
    )


def _types(graphs: Sequence[Graph]) -> set[str]:
    operators = (operator for graph in graphs for operator in graph.operators)
    return {t.type + "*" * bool(t.scales) for o in operators for t in (*o.inputs, *o.outputs) if t is not None}


def _computed_products(content: bytes) -> list[OperatorUse]:
    """Linear layers whose weights are another activation, as in attention: tflite-runtime has no int16 kernel for them."""
    operators = (operator for graph in read_graphs(content) for operator in graph.operators)
    return [
        operator
        for operator in operators
        if operator.operator == "FULLY_CONNECTED" and (weights := operator.input(1)) is not None and not weights.constant
    ]


def _row_length(operator: OperatorUse) -> int:
    weights = operator.input(1)
    # Weights that are computed, not stored, cannot be grouped.
    return weights.shape[-1] if weights is not None and weights.constant and weights.shape else 1


def _only(tensor_name: str) -> str:
    """A regular expression for the operator that computes just this tensor: its scope is the name and a semicolon."""
    return f"^{re.escape(tensor_name)};?$"


def _leave_in_float(quantizing: quantizer.Quantizer, regex: str, operator: qtyping.TFLOperationName) -> None:
    quantizing.update_quantization_recipe(regex=regex, operation_name=operator, algorithm_key=AlgorithmName.NO_QUANTIZE)
