"""PyTorch to ExecuTorch's ``.pte``: for XNNPACK (Arm and x86 CPUs), plain kernels, and the compilers of vendors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.footprint import Footprint
from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import Lane, Target
from edgedeploy.exporters import executorch_delegates as delegates
from edgedeploy.exporters import executorch_footprint, executorch_refused
from edgedeploy.exporters.lasting import lasting_imports
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Emit, Exported, ExportedMethod, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.exporters.executorch_lowering import Lowered
    from edgedeploy.exporters.tracing import Traced
    from edgedeploy.source import LoadedLanguage, LoadedModel

_ENTRY = "model.pte"
_SDK = "ExecuTorch"


class ExecutorchExporter:
    """Writes ``model.pte``. Inputs and outputs keep PyTorch's dtypes in every precision.

    What a precision does is in :mod:`edgedeploy.exporters.executorch_precision`, what a backend takes in
    :mod:`edgedeploy.exporters.executorch_delegates`.
    """

    name: str = "executorch"
    format: Format = "pte"
    extra: str = "executorch"

    def lanes(self) -> tuple[Lane, ...]:
        """Every backend in every precision it has."""
        return tuple(
            Lane(exporter=self.name, backend=backend, precision=precision)
            for backend, precisions in delegates.PRECISIONS.items()
            for precision in precisions
        )

    def language_lanes(self) -> tuple[Lane, ...]:
        """XNNPACK in float, and with weights of 4 or 8 bits."""
        return tuple(
            Lane(exporter=self.name, backend="xnnpack", precision=precision) for precision in ("fp32", "8da4w", "int8-dynamic")
        )

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the bytes of the file."""
        return ("torch", "executorch", "torchao")

    def compilers(self, lane: Lane) -> tuple[str, ...]:
        """Of a vendor's backend."""
        return delegates.compilers(lane.backend)

    def lacking(self, lane: Lane) -> Lacking | None:
        """The vendor's SDK, for a backend whose compiler is not in ExecuTorch's wheel."""
        return delegates.lacking(lane.backend)

    def footprint(self, profile: ModelProfile, lane: Lane) -> Footprint | None:
        """See :mod:`edgedeploy.exporters.executorch_footprint`."""
        return executorch_footprint.footprint(profile, lane)

    def refusals(self, profile: ModelProfile, lane: Lane, target: Target) -> tuple[Obstacle, ...]:
        """See :mod:`edgedeploy.exporters.executorch_refused`."""
        return tuple(executorch_refused.refusals(profile, lane, target))

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model``. Cost: seconds of CPU, growing with the number of operators.

        Raises:
            ExportError: an operator ExecuTorch cannot lower, or has no kernel for; a precision that would change nothing; a
                dimension that moves without an upper bound.
            ModelError: outputs that are no tensors.
        """
        quiet_sdks()
        if model.language is not None:
            return self._export_language(model, model.language, request, emit)
        with lasting_imports():
            from edgedeploy.exporters import executorch_lowering as lowering
            from edgedeploy.exporters.diagnosis import explained
            from edgedeploy.exporters.executorch_precision import in_precision
            from edgedeploy.exporters.tracing import trace

        emit("tracing with torch.export")
        traces = trace(model, _SDK)
        lowering.require_bounds(traces)
        with explained(_SDK, model.user_root, traces[0].program):
            reduced = [in_precision(traced, request, emit) for traced in traces]
            emit(f"lowering to {delegates.TITLES[request.lane.backend]}")
            partitioner = delegates.partitioner(request)
            programs = {traced.name: one.program for traced, one in zip(traces, reduced, strict=True)}
            lowered = lowering.lower(programs, partitioner)
        return self._written(lowered, traces, reduced[0].quantization, model.user_root, request, emit)

    def _export_language(self, model: LoadedModel, language: LoadedLanguage, request: ExportRequest, emit: Emit) -> Exported:
        with lasting_imports():
            from edgedeploy.exporters import executorch_language as exporting
            from edgedeploy.exporters.diagnosis import explained, explained_trace

        precision = request.lane.precision
        emit(f"quantizing to {precision}" if precision != "fp32" else "taking the decoder")
        decoder = exporting.quantized(model, precision)
        emit("tracing with torch.export")
        with explained_trace(_SDK, model.user_root):
            traced = exporting.trace(decoder, language)
        with explained(_SDK, model.user_root, traced.program):
            emit("lowering to XNNPACK")
            lowered = exporting.lower(traced, language)
        return self._written(lowered, (traced,), "none" if precision == "fp32" else precision, model.user_root, request, emit)

    def _written(
        self, lowered: Lowered, traces: Sequence[Traced], quantization: str, user_root: str, request: ExportRequest, emit: Emit
    ) -> Exported:
        from edgedeploy.exporters import executorch_lowering as lowering

        emit("checking that every operator has a kernel")
        for traced in traces:
            lowering.require_kernels(lowered, traced, user_root)
        emit("writing the program")
        ran = lowering.what_methods_run(lowered, user_root)
        Path(request.folder, _ENTRY).write_bytes(lowered.buffer)
        return Exported(
            entry=_ENTRY,
            methods=tuple(
                ExportedMethod(
                    name=traced.name,
                    entry=traced.name,
                    inputs=lowering.declared_inputs(lowered, traced),
                    outputs=lowering.declared_outputs(lowered, traced),
                )
                for traced in traces
            ),
            operators=tuple(operator for method in ran for operator in method.operators),
            delegate_graphs=tuple(graph for method in ran for graph in method.delegate_graphs),
            inspection=lowering.inspection(lowered) | {"quantization": quantization},
        )
