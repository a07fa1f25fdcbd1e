"""A model as ``torch.export`` sees it: the first step of every exporter. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.exporters.diagnosis import explained_trace
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.signature import flatten_outputs, input_names, output_names, tensor_spec
from edgedeploy.source import LoadedModel


class FlatModule(nn.Module):
    """The user's module with its outputs as a flat tuple of tensors, so that all SDKs agree on their order."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the user's module."""
        return flatten_outputs(self.inner(*inputs))


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A traced model; ``inputs`` and ``outputs`` have PyTorch's dtypes, which an artifact may change."""

    module: FlatModule
    program: ExportedProgram
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def trace(model: LoadedModel, sdk: str) -> Traced:
    """Trace ``model`` at the shapes of its example inputs.

    Raises:
        ExportError: ``forward`` branches on data, leaves PyTorch, and so on; ``where`` is the line that does.
        ModelError: the output holds something else than tensors.
    """
    module = FlatModule(model.module)
    module.training = False  # not .eval(): the module of an exported program refuses it, and the user's is in eval mode
    (output,) = run_eagerly(model.module, [model.example_inputs])
    with explained_trace(sdk, model.user_root):
        program = export_program(module, model.example_inputs)
    return Traced(
        module=module,
        program=program,
        inputs=_specs(input_names(model.module, len(model.example_inputs)), model.example_inputs),
        outputs=_specs(output_names(output), flatten_outputs(output)),
    )


def export_program(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """``torch.export`` for inference, running the Python code itself ("non-strict").

    Without gradients, because for some operators they bring in nodes that no SDK knows.
    """
    with torch.no_grad():
        return torch.export.export(module, inputs, strict=False)


def _specs(names: Sequence[str], tensors: Sequence[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(tensor_spec(name, tensor) for name, tensor in zip(names, tensors, strict=True))
