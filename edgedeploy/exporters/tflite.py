"""PyTorch to TFLite's ``.tflite`` by litert-torch, for the CPU (TFLite runs it through XNNPACK)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Emit, Exported, ExportedMethod, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

_ENTRY = "model.tflite"
_SDK = "litert-torch"


class TfliteExporter:
    """Writes ``model.tflite``. int64 and float64 become 32 bits wide, inputs and outputs included.

    ``int8`` is static: int8 weights per channel, int8 activations with ranges observed on ``model.calibration``, inputs
    and outputs left in float32. In models with attention or run-time normalisation only layers with weights are int8,
    except those whose activations have outliers; embeddings stay in float32. Dynamic quantization per channel would be
    smaller and closer to the float model there, and is not offered: tflite-runtime 2.14, still the newest on many
    boards, loads such a file and computes nonsense.
    """

    name: str = "tflite"
    format: Format = "tflite"
    extra: str = "tflite"

    def lanes(self) -> tuple[Lane, ...]:
        """XNNPACK in fp32 and int8."""
        return tuple(Lane(exporter=self.name, backend="xnnpack", precision=precision) for precision in ("fp32", "int8"))

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the bytes of the file."""
        return ("torch", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer")

    def lacking(self, lane: Lane) -> Lacking | None:  # noqa: ARG002 - the same SDKs do all
        """Nothing else is needed."""
        return None

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model``. Cost: about ten seconds of CPU and 0.8 GB of memory for small models.

        Raises:
            ExportError: an operator litert-torch has no lowering for.
            ModelError: outputs that are no tensors.
        """
        quiet_sdks()
        from edgedeploy.exporters import tflite_file
        from edgedeploy.exporters.diagnosis import explained
        from edgedeploy.exporters.int8_scope import activations_fit_int8
        from edgedeploy.exporters.tracing import trace

        emit("tracing with torch.export")
        (traced,) = trace(model, _SDK)
        with explained(_SDK, model.user_root, traced.program):
            emit("converting to TFLite")
            content = tflite_file.convert(traced.module, traced.example_inputs)
            quantization = "none"
            if request.lane.precision == "int8":
                everything = activations_fit_int8(traced.program)
                quantization = "int8 static" if everything else "int8 static in layers with weights"
                emit(f"calibrating int8 on {len(traced.calibration)} inputs")
                content = tflite_file.quantize(content, traced.calibration, everything=everything)
        emit("reading the file back")
        Path(request.folder, _ENTRY).write_bytes(content)
        inputs, outputs = tflite_file.signature(content)
        return Exported(
            entry=_ENTRY,
            methods=(ExportedMethod(entry="serving_default", inputs=inputs, outputs=outputs),),
            inspection=tflite_file.inspection(content) | {"quantization": quantization},
        )
