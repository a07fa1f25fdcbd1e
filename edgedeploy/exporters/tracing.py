"""A model as ``torch.export`` sees it: the first step of every exporter. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram

from edgedeploy.domain.artifact import DynamicDim, TensorSpec
from edgedeploy.errors import ModelError
from edgedeploy.exporters.diagnosis import explained_trace
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.signature import flatten_outputs, input_names, output_names, tensor_spec
from edgedeploy.source import LoadedMethod, LoadedModel

if TYPE_CHECKING:
    from sympy import Expr

_UNBOUNDED = 2**31  # torch.export gives a dimension without a bound one beyond this


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
    """A traced method; ``inputs`` and ``outputs`` have PyTorch's dtypes, which an artifact may change.

    ``dynamic_shapes`` is what ``torch.export`` takes for ``module``: one entry for its ``*inputs``. ``shapes_one_by_one`` is
    the same for ``program.module()``, whose inputs are parameters of their own.
    """

    name: str
    module: FlatModule
    program: ExportedProgram
    example_inputs: tuple[Tensor, ...]
    calibration: tuple[tuple[Tensor, ...], ...]
    dynamic_shapes: tuple[tuple[object, ...]] | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def shapes_one_by_one(self) -> tuple[object, ...] | None:
        """One entry per input; None if nothing moves."""
        return self.dynamic_shapes[0] if self.dynamic_shapes else None


def trace(model: LoadedModel, sdk: str) -> tuple[Traced, ...]:
    """Trace every method of ``model`` at the shapes of its example inputs, once for all lanes of a worker.

    Raises:
        ExportError: ``forward`` branches on data, leaves PyTorch, and so on; ``where`` is the line that does.
        ModelError: the output holds something else than tensors; dynamic shapes that do not fit the inputs.
    """
    traces = model.once("traces", lambda: tuple(_trace(method, model.user_root, sdk) for method in model.methods))
    for traced in traces:
        _forget_pending_sizes(traced.program)
    return traces


def _forget_pending_sizes(program: ExportedProgram) -> None:
    """Of sizes that data decide, an SDK's passes leave symbols as pending, and PyTorch then refuses the next SDK's."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        environment = value.fake_mode.shape_env if isinstance(value, FakeTensor) else None
        if environment is not None:
            environment.pending_fresh_unbacked_symbols.clear()
            return


def export_program(
    module: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: tuple[object, ...] | None = None
) -> ExportedProgram:
    """``torch.export`` for inference, running the Python code itself ("non-strict").

    Without gradients, because for some operators they bring in nodes that no SDK knows.
    """
    with torch.no_grad():
        return torch.export.export(module, inputs, dynamic_shapes=dynamic_shapes, strict=False)


def _trace(method: LoadedMethod, user_root: str, sdk: str) -> Traced:
    module = FlatModule(method.module)
    module.training = False  # not .eval(): the module of an exported program refuses it, and the user's is in eval mode
    (output,) = run_eagerly(method.module, [method.example_inputs])
    names = input_names(method.module, len(method.example_inputs))
    dynamic_shapes = _per_input(method.dynamic_shapes, names)
    with explained_trace(sdk, user_root):
        program = export_program(module, method.example_inputs, dynamic_shapes)
    user_inputs = set(program.graph_signature.user_inputs)
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in user_inputs]
    (results,) = (node.args[0] for node in program.graph.nodes if node.op == "output")
    kept = results[len(results) - len(program.graph_signature.user_outputs) :]
    return Traced(
        name=method.name,
        module=module,
        program=program,
        example_inputs=method.example_inputs,
        calibration=method.calibration,
        dynamic_shapes=dynamic_shapes,
        inputs=_specs(names, method.example_inputs, placeholders, program),
        outputs=_specs(output_names(output), flatten_outputs(output), kept, program),
    )


def _per_input(dynamic_shapes: object, names: Sequence[str]) -> tuple[tuple[object, ...]] | None:
    """The user's dynamic shapes, per input by position or by name, for :class:`FlatModule`'s ``*inputs``."""
    if dynamic_shapes is None:
        return None
    if isinstance(dynamic_shapes, Mapping):
        if unknown := [name for name in dynamic_shapes if name not in names]:
            raise ModelError(
                f"dynamic_shapes names an input {unknown[0]!r} that forward does not have",
                where="dynamic_shapes",
                seen=", ".join(map(str, dynamic_shapes)),
                next_step=f"its inputs: {', '.join(names)}",
            )
        return (tuple(dynamic_shapes.get(name) for name in names),)
    if not isinstance(dynamic_shapes, tuple | list) or len(dynamic_shapes) != len(names):
        raise ModelError(
            "dynamic_shapes has to have one entry per input",
            where="dynamic_shapes",
            seen=repr(dynamic_shapes)[:200],
            next_step=f"give one of {{dimension: torch.export.Dim(…)}} or None for each of {', '.join(names)}",
        )
    return (tuple(dynamic_shapes),)


def _specs(
    names: Sequence[str], tensors: Sequence[Tensor], nodes: Iterable[torch.fx.Node], program: ExportedProgram
) -> tuple[TensorSpec, ...]:
    return tuple(
        tensor_spec(name, tensor, dynamic=_dynamic_dims(node, program))
        for name, tensor, node in zip(names, tensors, nodes, strict=True)
    )


def _dynamic_dims(node: torch.fx.Node, program: ExportedProgram) -> tuple[DynamicDim, ...]:
    value = node.meta.get("val") if isinstance(node, torch.fx.Node) else None
    if not isinstance(value, Tensor):
        return ()
    sizes: list[object] = list(value.shape)
    return tuple(_bounds(dim, size, program) for dim, size in enumerate(sizes) if isinstance(size, torch.SymInt))


def _bounds(dim: int, size: torch.SymInt, program: ExportedProgram) -> DynamicDim:
    expression = size.node.expr
    if expression not in program.range_constraints:  # of other dimensions: 2*s0
        return DynamicDim(dim=dim)
    low, high = range_of(expression, program)
    return DynamicDim(dim=dim, low=low, high=high)


def range_of(symbol: Expr, program: ExportedProgram) -> tuple[int, int | None]:
    """The bounds of a size that moves; None above where it has none."""
    bounds = program.range_constraints[symbol]
    low = int(bounds.lower) if bounds.lower.is_finite else 1
    high = int(bounds.upper) if bounds.upper.is_finite and bounds.upper < _UNBOUNDED else None
    return max(low, 0), high
