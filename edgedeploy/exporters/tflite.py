"""PyTorch to TFLite's ``.tflite`` by litert-torch, for the CPU (TFLite runs it through XNNPACK)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.footprint import Footprint
from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import Lane, Target
from edgedeploy.exporters import tflite_footprint, tflite_refused
from edgedeploy.exporters.lasting import lasting_imports
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Emit, Exported, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

_ENTRY = "model.tflite"
_SDK = "litert-torch"
_PRECISIONS = ("fp32", "fp16", "int8", "int8-static", "int8-dynamic", "int8-weights", "int4-weights", "8da4w", "16x8")


class TfliteExporter:
    """Writes ``model.tflite``. int64 and float64 become 32 bits wide, inputs and outputs included.

    ``int8`` is static: int8 weights per channel, int8 activations with ranges observed on ``model.calibration``, inputs
    and outputs left in float32. In models with attention or run-time normalisation only layers with weights are int8,
    those whose activations have outliers with float arithmetic; ``int8-static`` does it all the same.

    XNNPACK has no kernels for ``16x8``, which runs on TFLite's own, some fifty times slower than ``int8``; nor does it
    unpack the weights of ``int4-weights``, which are small in the file and float32 in memory. ``8da4w`` wants linear layers
    with rows of a multiple of 32.

    Methods become signatures that share their weights; inputs and outputs have the user's names. Sizes that move are left
    open (:mod:`edgedeploy.exporters.tflite_moving`), at the cost of a second conversion. A target whose
    ``runtime_versions`` name tflite-runtime gets a file that this engine computes right, or none.
    """

    name: str = "tflite"
    format: Format = "tflite"
    extra: str = "tflite"

    def lanes(self) -> tuple[Lane, ...]:
        """XNNPACK in every precision that AI Edge Quantizer has."""
        return tuple(Lane(exporter=self.name, backend="xnnpack", precision=precision) for precision in _PRECISIONS)

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the bytes of the file."""
        return ("torch", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer")

    def compilers(self, lane: Lane) -> tuple[str, ...]:  # noqa: ARG002 - the same SDKs do all
        """None."""
        return ()

    def lacking(self, lane: Lane) -> Lacking | None:  # noqa: ARG002 - the same SDKs do all
        """Nothing else is needed."""
        return None

    def footprint(self, profile: ModelProfile, lane: Lane) -> Footprint | None:
        """See :mod:`edgedeploy.exporters.tflite_footprint`."""
        return tflite_footprint.footprint(profile, lane)

    def refusals(self, profile: ModelProfile, lane: Lane, target: Target) -> tuple[Obstacle, ...]:  # noqa: ARG002 - the same for all
        """See :mod:`edgedeploy.exporters.tflite_refused`."""
        return tuple(tflite_refused.refusals(profile, lane))

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model``. Cost: about ten seconds of CPU and 0.8 GB of memory for small models.

        Raises:
            ExportError: an operator litert-torch has no lowering for; a dimension that cannot move; a precision that would
                change nothing; an operator that the target's tflite-runtime does not compute right.
            ModelError: outputs that are no tensors.
        """
        quiet_sdks()
        with lasting_imports():
            from edgedeploy.exporters.tflite_lane import in_lane
            from edgedeploy.exporters.tracing import trace

        emit("tracing with torch.export")
        traces = trace(model, _SDK)
        written = in_lane(model, traces, request.lane.precision, request.runtime_versions, emit, _SDK)
        Path(request.folder, _ENTRY).write_bytes(written.content)
        return Exported(entry=_ENTRY, methods=written.methods, operators=written.operators, inspection=written.inspection)
