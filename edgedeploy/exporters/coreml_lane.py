"""From a traced method to a package at a precision. Imports torch and coremltools: load it when it is needed."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import coremltools as ct
from torch import Tensor, nn

from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml_compression import compressed
from edgedeploy.exporters.coreml_precisions import SCHEMES, Deployment
from edgedeploy.exporters.coreml_program import Converted, convert
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.int8_scope import activations_fit_int8
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.exporters.tracing import Traced
from edgedeploy.ports import Emit
from edgedeploy.source import LoadedMethod, LoadedModel

if TYPE_CHECKING:
    from coremltools.models import MLModel

# Int8 arithmetic that leaves less than this of PyTorch's answer is no approximation of it.
_LEAST_SQNR_DB = 3.0
_WEIGHTS_ONLY = "int8 weights (symmetric, per channel); activations stay float: the model attends or normalises at run time"


@dataclass(frozen=True, kw_only=True)
class MethodInLane:
    """A converted method and its final form. ``floating_weights`` are those behind a quantized program's parameters."""

    converted: Converted
    model: MLModel
    quantization: str
    floating_weights: tuple[Tensor, ...] = ()
    quantized_sqnr_db: float | None = None


def in_lane(model: LoadedModel, traced: Traced, precision: str, system: Deployment, emit: Emit) -> MethodInLane:
    """A method at a precision; conversions to float are shared between the lanes of one worker.

    Raises:
        ExportError: an operator coremltools does not know; int8 arithmetic that ruins the answers.
    """
    scheme = SCHEMES[precision]
    (method,) = (one for one in model.methods if one.name == traced.name)
    if precision == "int8-static" or (precision == "int8" and activations_fit_int8(traced.program)):
        return _quantized(model, method, traced, precision, system, emit)

    def converted_to_float() -> Converted:
        emit("converting to Core ML")
        return convert(traced, traced.program, system=system, half_precision=scheme.half, user_root=model.user_root)

    key = f"coreml {traced.name} ios{system.ios} {'float16' if scheme.half else 'float32'}"
    converted = model.once(key, converted_to_float)
    if precision not in {"fp32", "fp16"}:
        emit(f"compressing weights to {precision}")
    return MethodInLane(
        converted=converted,
        model=compressed(converted.model, precision, system),
        quantization=_WEIGHTS_ONLY if precision == "int8" else scheme.described,
    )


def save(methods: Sequence[MethodInLane], package: Path) -> None:
    """Write one method as a package, or several as the functions of one that share equal weights."""
    if len(methods) == 1:
        _write(methods[0].model, package)
        return
    with tempfile.TemporaryDirectory() as folder:
        description = ct.utils.MultiFunctionDescriptor()
        for method in methods:
            name = method.converted.traced.name
            path = Path(folder, f"{name}.mlpackage")
            _write(method.model, path)
            description.add_function(str(path), src_function_name="main", target_function_name=name)
        description.default_function_name = methods[0].converted.traced.name
        ct.utils.save_multifunction(description, str(package))


def _write(model: MLModel, package: Path) -> None:
    """Copy the package. ``MLModel.save`` would add ExecuTorch's debugging file, and refuse programs with loops for it."""
    shutil.copytree(model.package_path, package)


def _quantized(
    model: LoadedModel, method: LoadedMethod, traced: Traced, precision: str, system: Deployment, emit: Emit
) -> MethodInLane:
    from edgedeploy.exporters.coreml_int8 import quantize

    emit(f"calibrating int8 on {len(traced.calibration)} inputs")
    quantized = quantize(traced)
    emit("comparing the quantized program with PyTorch")
    sqnr_db = _sqnr_db(method, traced.module, quantized.program.module())
    if sqnr_db < _LEAST_SQNR_DB:
        raise ExportError(
            "int8 arithmetic ruins the model's answers",
            where=f"{model.name}, method {method.name}",
            seen=f"{sqnr_db:.1f} dB of signal over noise on the golden inputs, in PyTorch",
            next_step="give calibration inputs like the real ones, or choose int8-weights",
        )
    emit("converting to Core ML")
    converted = convert(traced, quantized.program, system=system, half_precision=True, user_root=model.user_root)
    return MethodInLane(
        converted=converted,
        model=compressed(converted.model, precision, system),
        quantization=SCHEMES[precision].described,
        floating_weights=quantized.weights,
        quantized_sqnr_db=sqnr_db,
    )


def _sqnr_db(method: LoadedMethod, reference: nn.Module, module: nn.Module) -> float:
    """Signal over noise of all floating outputs together, on the golden inputs, both run by PyTorch."""
    signal = noise = 0.0
    expected = run_eagerly(reference, method.golden_inputs)
    given = run_eagerly(module, method.golden_inputs)
    for one, other in zip(expected, given, strict=True):
        for wanted, found in zip(flatten_outputs(one), flatten_outputs(other), strict=True):
            if wanted.is_floating_point():
                signal += float(wanted.double().square().sum())
                noise += float((wanted.double() - found.double()).square().sum())
    if not math.isfinite(noise):
        return -math.inf
    return math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)
