"""ExecuTorch with its portable operators only: slow, and it runs anywhere. Shows what an exporter has to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedeploy.domain.footprint import Footprint
from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.target import Lane, Target
from edgedeploy.ports import Emit, Exported, ExportedMethod, ExportRequest, Lacking

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel


class PortableExporter:
    """Writes .pte, so that the runtimes edgedeploy has for ExecuTorch run the result."""

    name = "portable"
    format = "pte"
    extra = "executorch"

    def lanes(self) -> tuple[Lane, ...]:
        """One lane."""
        return (Lane(exporter="portable", backend="portable", precision="fp32"),)

    def toolchain(self) -> tuple[str, ...]:
        """Distributions whose versions decide the result: they are part of the cache key."""
        return ("torch", "executorch")

    def compilers(self, lane: Lane) -> tuple[str, ...]:
        """More of them for just one lane; none."""
        return ()

    def lacking(self, lane: Lane) -> Lacking | None:
        """What else has to be installed; nothing."""
        return None

    def footprint(self, profile: ModelProfile, lane: Lane) -> Footprint | None:
        """What `edgedeploy plan` predicts; here nothing."""
        return None

    def refusals(self, profile: ModelProfile, lane: Lane, target: Target) -> tuple[Obstacle, ...]:
        """What `edgedeploy plan` says this lane will refuse; nothing that we know of."""
        return ()

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Runs in a worker process; heavy imports belong in here."""
        import torch
        from executorch.exir import to_edge

        from edgedeploy.exporters.signature import flatten_outputs, tensor_spec

        emit("lowering to portable operators")
        method = model.main
        program = to_edge(torch.export.export(method.module, method.example_inputs)).to_executorch()
        Path(request.folder, "model.pte").write_bytes(program.buffer)
        with torch.no_grad():
            outputs = flatten_outputs(method.module(*method.example_inputs))
        return Exported(
            entry="model.pte",
            methods=(
                ExportedMethod(
                    entry="forward",
                    inputs=tuple(tensor_spec(f"input_{i}", tensor) for i, tensor in enumerate(method.example_inputs)),
                    outputs=tuple(tensor_spec(f"output_{i}", tensor) for i, tensor in enumerate(outputs)),
                ),
            ),
            inspection={"operators": str(len(program.executorch_program.execution_plan[0].operators))},
        )
