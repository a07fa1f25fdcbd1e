"""Making, quantizing and reading ``.tflite`` files. Imports the SDKs: load it when it is needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import litert_torch
import litert_torch.progress
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils
from numpy.typing import NDArray
from torch import Tensor, nn

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.exporters.operator_counts import bounded
from edgedeploy.exporters.signature import dtype_name
from edgedeploy.exporters.tflite_outliers import layers_with_outliers

_SIGNATURE = "serving_default"
_WEIGHTED = (
    qtyping.TFLOperationName.FULLY_CONNECTED,
    qtyping.TFLOperationName.CONV_2D,
    qtyping.TFLOperationName.DEPTHWISE_CONV_2D,
    qtyping.TFLOperationName.CONV_2D_TRANSPOSE,
)


def convert(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """The float32 model as the bytes of a ``.tflite`` file."""
    litert_torch.progress.config.show_progress = False
    with torch.no_grad():
        return bytes(litert_torch.convert(module, inputs).model_content())


def quantize(float_model: bytes, calibration: Sequence[tuple[Tensor, ...]], *, everything: bool) -> bytes:
    """The model in static int8, with float inputs and outputs.

    ``everything``: all operators. Else only layers with weights, and of those only the ones without outliers.
    """
    declared, _ = signature(float_model)
    samples = [
        {spec.name: np.asarray(tensor.numpy(), dtype=spec.dtype) for spec, tensor in zip(declared, batch, strict=True)}
        for batch in calibration
    ]
    quantizing = quantizer.Quantizer(bytearray(float_model))
    if everything:
        quantizing.load_quantization_recipe(recipe.static_wi8_ai8())
        for boundary in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            _leave_in_float(quantizing, ".*", boundary)
    else:
        for operator in _WEIGHTED:
            quantizing.add_static_config(regex=".*", operation_name=operator, activation_num_bits=8, weight_num_bits=8)
        for layer in layers_with_outliers(float_model, _SIGNATURE, samples):
            for operator in _WEIGHTED:
                _leave_in_float(quantizing, f"^{re.escape(layer)};?$", operator)
    result = quantizing.quantize(
        _ranges(float_model, quantizing, samples), enable_progress_bar=False, enable_progress_report=False
    )
    return bytes(result.quantized_model)


def _ranges(
    float_model: bytes, quantizing: quantizer.Quantizer, samples: Sequence[Mapping[str, NDArray[np.generic]]]
) -> dict[str, qtyping.QSV]:
    """The full range of every tensor over all samples.

    The quantizer's own ``calibrate`` takes a moving average that hardly leaves the first sample's range (smoothing
    0.95), and so clips what the others hold: a small transformer came out at 9 dB, and at 39 with full ranges.
    """
    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(quantizing.get_quantization_recipe())
    observing = calibrator.Calibrator(float_model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    observing.calibrate({_SIGNATURE: samples}, recipes)
    ranges: dict[str, qtyping.QSV] = observing.get_model_qsvs()
    return ranges


def _leave_in_float(quantizing: quantizer.Quantizer, regex: str, operator: qtyping.TFLOperationName) -> None:
    quantizing.update_quantization_recipe(regex=regex, operation_name=operator, algorithm_key=AlgorithmName.NO_QUANTIZE)


def signature(content: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs (``args_0`` …) and outputs (``output_0`` …) as the file declares them, in the order of their numbers."""
    runner = Interpreter(model_content=content).get_signature_runner(_SIGNATURE)
    return _specs(runner.get_input_details()), _specs(runner.get_output_details())


def inspection(content: bytes) -> dict[str, str]:
    """Facts read back from the file: its operators and how many of its tensors are quantized."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    operators: Counter[str] = Counter()
    tensors = quantized = 0
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # Files of old hold codes below 127 in the deprecated field only.
            operators[names[max(code.builtinCode, code.deprecatedBuiltinCode)]] += 1
        for tensor in graph.tensors:
            tensors += 1
            quantized += tensor.quantization is not None and tensor.quantization.scale is not None
    return {
        "operators": str(operators.total()),
        "operator kinds": bounded(operators),
        "tensors": str(tensors),
        "quantized tensors": str(quantized),
    }


def _specs(details: dict[str, dict[str, object]]) -> tuple[TensorSpec, ...]:
    ordered = sorted(details.items(), key=lambda item: int(item[0].rpartition("_")[2]))
    return tuple(
        TensorSpec(
            name=name,
            dtype=dtype_name(np.dtype(detail["dtype"]).name, name),  # type: ignore[call-overload]  # untyped details
            shape=tuple(int(extent) for extent in detail["shape"]),  # type: ignore[attr-defined]  # untyped details
        )
        for name, detail in ordered
    )
