"""PyTorch to Core ML's ``.mlpackage`` (an ML program)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Emit, Exported, ExportedMethod, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

_ENTRY = "model.mlpackage"
_SDK = "coremltools"


class CoremlExporter:
    """Writes ``model.mlpackage``. int64 inputs and outputs become int32.

    ``fp32`` computes in float32, on CPU and GPU only. ``int8`` has int8 weights (linear, symmetric, per channel) and
    computes in float16, as the Neural Engine does; activations are not quantized, so nothing is calibrated.
    """

    name: str = "coreml"
    format: Format = "mlpackage"
    extra: str = "coreml"

    def lanes(self) -> tuple[Lane, ...]:
        """ML programs in fp32 and with int8 weights."""
        return tuple(Lane(exporter=self.name, backend="mlprogram", precision=precision) for precision in ("fp32", "int8"))

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the bytes of the package."""
        return ("torch", "coremltools")

    def lacking(self, lane: Lane) -> Lacking | None:  # noqa: ARG002 - one SDK does all
        """Nothing else is needed."""
        return None

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model`` for ``request.os`` from ``request.min_os`` on. Cost: seconds of CPU.

        Raises:
            ExportError: an operator coremltools does not know.
            ModelError: outputs that are no tensors.
        """
        quiet_sdks()
        from edgedeploy.exporters import coreml_program, mlpackage
        from edgedeploy.exporters.diagnosis import explained
        from edgedeploy.exporters.tracing import trace

        weights_only_int8 = request.lane.precision == "int8"
        emit("tracing with torch.export")
        (traced,) = trace(model, _SDK)
        package = Path(request.folder, _ENTRY)
        with explained(_SDK, model.user_root, traced.program):
            emit("converting to Core ML")
            converted = coreml_program.convert(
                traced,
                target_name=coreml_program.deployment_target(request.os, request.min_os),
                half_precision=weights_only_int8,
            )
            if weights_only_int8:
                emit("quantizing weights to int8")
                converted = coreml_program.quantize_weights(converted)
            emit("writing the package")
            converted.save(str(package))
        mlpackage.make_reproducible(package)
        emit("reading the package back")
        inputs, outputs = mlpackage.signature(package)
        facts = mlpackage.inspection(package)
        facts["compute precision"] = "float16" if weights_only_int8 else "float32"
        facts["quantization"] = "int8 weights, float activations" if weights_only_int8 else "none"
        return Exported(entry=_ENTRY, methods=(ExportedMethod(entry="main", inputs=inputs, outputs=outputs),), inspection=facts)
