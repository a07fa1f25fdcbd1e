"""PyTorch to ExecuTorch's ``.pte`` for its XNNPACK backend (Arm and x86 CPUs)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Emit, Exported, ExportedMethod, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

_ENTRY = "model.pte"
_SDK = "ExecuTorch"


class ExecutorchExporter:
    """Writes ``model.pte``.

    ``int8`` is PT2E quantization with symmetric weights per channel. Activations are static, per tensor, with ranges
    observed on ``model.calibration``. In models with attention or run-time normalisation that holds for convolutions
    only; linear layers choose their ranges per token while they run; the rest, embeddings too, stays in float32.
    """

    name: str = "executorch"
    format: Format = "pte"
    extra: str = "executorch"

    def lanes(self) -> tuple[Lane, ...]:
        """XNNPACK in fp32 and int8."""
        return tuple(Lane(exporter=self.name, backend="xnnpack", precision=precision) for precision in ("fp32", "int8"))

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the bytes of the file."""
        return ("torch", "executorch", "torchao")

    def lacking(self, lane: Lane) -> Lacking | None:  # noqa: ARG002 - XNNPACK is in the wheel
        """Nothing else is needed."""
        return None

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model``. Cost: seconds of CPU, growing with the number of operators.

        Raises:
            ExportError: an operator ExecuTorch cannot lower, or has no kernel for.
            ModelError: outputs that are no tensors.
        """
        quiet_sdks()
        from edgedeploy.exporters import executorch_lowering as lowering
        from edgedeploy.exporters.diagnosis import explained
        from edgedeploy.exporters.int8_scope import activations_fit_int8
        from edgedeploy.exporters.tracing import trace
        from edgedeploy.exporters.xnnpack_int8 import quantize

        emit("tracing with torch.export")
        (traced,) = trace(model, _SDK)
        with explained(_SDK, model.user_root, traced.program):
            program, quantization = traced.program, "none"
            if request.lane.precision == "int8":
                everything = activations_fit_int8(traced.program)
                quantization = "int8 static" if everything else "int8 convolutions static, linear layers dynamic"
                emit(f"calibrating int8 on {len(traced.calibration)} inputs")
                program = quantize(traced.program, traced.example_inputs, traced.calibration, everything=everything)
            emit("lowering to XNNPACK")
            lowered = lowering.lower(program)
        emit("checking that every operator has a kernel")
        lowering.require_kernels(lowered, traced.program, model.user_root)
        emit("writing the program")
        Path(request.folder, _ENTRY).write_bytes(lowered.buffer)
        return Exported(
            entry=_ENTRY,
            methods=(
                ExportedMethod(
                    entry="forward",
                    inputs=lowering.declared_inputs(lowered, traced.inputs),
                    outputs=lowering.declared_outputs(lowered, traced.outputs),
                ),
            ),
            inspection=lowering.inspection(lowered) | {"quantization": quantization},
        )
