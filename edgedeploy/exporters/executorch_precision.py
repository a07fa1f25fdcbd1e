"""What a precision does to a traced method before ExecuTorch lowers it. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.export import ExportedProgram

from edgedeploy.exporters.half import in_half
from edgedeploy.exporters.int8_scope import activations_fit_int8
from edgedeploy.exporters.tracing import Traced
from edgedeploy.exporters.xnnpack_groups import in_groups
from edgedeploy.exporters.xnnpack_int8 import Scheme, in_int8
from edgedeploy.exporters.xnnpack_weights import with_small_weights
from edgedeploy.ports import Emit, ExportRequest


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """A method in the precision of its lane; ``quantization`` says in words what was done."""

    program: ExportedProgram
    quantization: str


def in_precision(traced: Traced, request: ExportRequest, emit: Emit) -> Reduced:
    """The method as the lane's backend is to compute it. Some take the float program and reduce it themselves.

    Raises:
        ExportError: the precision would change nothing in this model; the target lacks what the backend has to know, or is
            too old for it.
    """
    lane = request.lane
    if lane.backend == "xnnpack":
        return _WAYS[lane.precision](traced, emit)
    if lane.backend == "ethos-u":
        return _ethos_u(traced, request, emit)
    if lane.backend == "openvino":
        return _openvino(traced, request, emit)
    if lane.backend == "coreml":
        from edgedeploy.exporters.executorch_coreml import require_system

        require_system(traced, request)
    return Reduced(program=traced.program, quantization="by the backend" if lane.precision != "fp32" else "none")


def _fp32(traced: Traced, _emit: Emit) -> Reduced:
    return Reduced(program=traced.program, quantization="none")


def _fp16(traced: Traced, emit: Emit) -> Reduced:
    emit("converting to 16-bit floats")
    return Reduced(program=in_half(traced), quantization="fp16, run-time normalisation in fp32")


def _int8(traced: Traced, emit: Emit) -> Reduced:
    everything = activations_fit_int8(traced.program)
    return _calibrated(traced, "static" if everything else "mixed", emit)


def _calibrated(traced: Traced, scheme: Scheme, emit: Emit) -> Reduced:
    if scheme != "dynamic":
        emit(f"calibrating int8 on {len(traced.calibration)} inputs")
    words = {
        "static": "int8 static",
        "mixed": "int8 convolutions static, linear layers dynamic",
        "dynamic": "int8 dynamic",
    }
    return Reduced(program=in_int8(traced, scheme), quantization=words[scheme])


def _small_weights(bits: int) -> Callable[[Traced, Emit], Reduced]:
    def reduce(traced: Traced, emit: Emit) -> Reduced:
        emit(f"quantizing weights to int{bits}")
        return Reduced(program=with_small_weights(traced, bits), quantization=f"int{bits} weights per channel, float activations")

    return reduce


def _groups(traced: Traced, emit: Emit) -> Reduced:
    emit("quantizing weights to int4 in groups of 32")
    return Reduced(program=in_groups(traced), quantization="int4 weights in groups of 32, int8 activations dynamic")


def _ethos_u(traced: Traced, request: ExportRequest, emit: Emit) -> Reduced:
    from edgedeploy.exporters.executorch_ethos_u import in_int8_for_ethos_u

    emit(f"calibrating int8 on {len(traced.calibration)} inputs")
    program, agreement = in_int8_for_ethos_u(traced, request)
    close = "NaN" if not agreement.finite else "exact" if agreement.sqnr_db is None else f"{agreement.sqnr_db:.1f} dB"
    return Reduced(program=program, quantization=f"int8 static; in PyTorch, on the calibration inputs: {close}")


def _openvino(traced: Traced, request: ExportRequest, emit: Emit) -> Reduced:
    if request.lane.precision == "fp16":
        return Reduced(program=traced.program, quantization="none: bfloat16 where the processor computes in it, else float32")
    from edgedeploy.exporters.executorch_openvino import in_int8_for_openvino

    emit(f"calibrating int8 on {len(traced.calibration)} inputs")
    return Reduced(program=in_int8_for_openvino(traced), quantization="int8 static, by NNCF")


_WAYS: dict[str, Callable[[Traced, Emit], Reduced]] = {
    "fp32": _fp32,
    "fp16": _fp16,
    "int8": _int8,
    "int8-static": lambda traced, emit: _calibrated(traced, "static", emit),
    "int8-dynamic": lambda traced, emit: _calibrated(traced, "dynamic", emit),
    "int8-weights": _small_weights(8),
    "int4-weights": _small_weights(4),
    "8da4w": _groups,
}
