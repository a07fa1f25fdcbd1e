"""PyTorch to Core ML's ``.mlpackage`` (an ML program)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.footprint import Footprint
from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import Lane, Target
from edgedeploy.exporters import coreml_footprint, coreml_refused
from edgedeploy.exporters.coreml_precisions import SCHEMES, deployment, require_methods, require_precision
from edgedeploy.exporters.lasting import lasting_imports
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Emit, Exported, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

_ENTRY = "model.mlpackage"
_SDK = "coremltools"
_CALIBRATED = ("int8", "int8-static")
_QUANTIZER = "torchao"


class CoremlExporter:
    """Writes ``model.mlpackage``. int64, bool and narrower integer inputs and outputs become int32.

    All but ``fp32`` compute in float16, as the Neural Engine does. ``int8`` has weights and activations in int8, with
    ranges observed on the calibration inputs; in models with attention or run-time normalisation the weights only, since
    their activations do not bear it (``int8-static`` does it all the same). The other precisions compress weights.
    Dimensions that move become ranges, buffers that ``forward`` changes become states, further methods functions.
    """

    name: str = "coreml"
    format: Format = "mlpackage"
    extra: str = "coreml"

    def lanes(self) -> tuple[Lane, ...]:
        """ML programs in every precision that Core ML has."""
        return tuple(Lane(exporter=self.name, backend="mlprogram", precision=precision) for precision in SCHEMES)

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the bytes of the package."""
        return ("torch", "coremltools", *((_QUANTIZER,) if importlib.util.find_spec(_QUANTIZER) else ()))

    def compilers(self, lane: Lane) -> tuple[str, ...]:  # noqa: ARG002 - the same SDKs do all
        """None."""
        return ()

    def lacking(self, lane: Lane) -> Lacking | None:
        """torchao, which observes activations for int8."""
        if lane.precision not in _CALIBRATED or importlib.util.find_spec(_QUANTIZER):
            return None
        return Lacking(what="torchao, which calibrates int8 activations", how='pip install "edgedeploy[coreml]"')

    def footprint(self, profile: ModelProfile, lane: Lane) -> Footprint | None:
        """See :mod:`edgedeploy.exporters.coreml_footprint`."""
        return coreml_footprint.footprint(profile, lane)

    def refusals(self, profile: ModelProfile, lane: Lane, target: Target) -> tuple[Obstacle, ...]:
        """See :mod:`edgedeploy.exporters.coreml_refused`."""
        return tuple(coreml_refused.refusals(profile, lane, target))

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model`` for ``request.os`` from ``request.min_os`` on. Cost: seconds of CPU.

        Raises:
            ExportError: an operator coremltools does not know; a system too old for the precision, for states or for
                several methods; weights that are not what they were.
            ModelError: outputs that are no tensors.
        """
        precision = request.lane.precision
        system = deployment(request.os, request.min_os)
        require_precision(system, precision)
        if len(model.methods) > 1:
            require_methods(system)
        quiet_sdks()
        with lasting_imports():
            from edgedeploy.exporters import mlpackage
            from edgedeploy.exporters.coreml_lane import in_lane, save
            from edgedeploy.exporters.coreml_report import report
            from edgedeploy.exporters.diagnosis import explained
            from edgedeploy.exporters.tracing import trace

        emit("tracing with torch.export")
        methods = []
        for traced in trace(model, _SDK):
            with explained(_SDK, model.user_root, traced.program):
                methods.append(in_lane(model, traced, precision, system, emit))
        emit("writing the package")
        package = Path(request.folder, _ENTRY)
        save(methods, package)
        mlpackage.finish(package, compute_units=request.compute_units)
        emit("reading the package back")
        return report(methods, package, precision=precision, system=system, user_root=model.user_root)
