"""A model that also gives the outputs of its layers, so that any exporter and any runner can be asked where an error begins.

Imports torch: load it when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from edgedeploy.domain.measurement import Layer, LayerOutput
from edgedeploy.exporters.diagnosis import innermost_line
from edgedeploy.exporters.eager import run_eagerly
from edgedeploy.exporters.signature import flatten_outputs, input_names
from edgedeploy.exporters.tracing import trace
from edgedeploy.source import LoadedMethod, LoadedModel

if TYPE_CHECKING:
    from torch.fx import Node

_MOST_LAYERS = 100  # each is one more output of the export; beyond, evenly spaced ones are taken
_CASES = 4  # golden inputs that are enough to see a layer fail

# What backends compute together with the layer before it: a look in between would keep them from doing so.
_FUSED = frozenset({"batch_norm", "relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_", "clamp", "clamp_"})


class LayeredModule(nn.Module):
    """The user's module with the outputs of some of its submodules behind its own."""

    def __init__(self, inner: nn.Module, paths: Sequence[str]) -> None:
        super().__init__()
        self.inner = inner
        self.paths = tuple(paths)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the user's module; what a submodule gave the first time it was called counts."""
        modules = {path: self.inner.get_submodule(path) for path in self.paths}
        with _outputs_of(modules) as seen:
            outputs = flatten_outputs(self.inner(*inputs))
        return (*outputs, *(seen[path] for path in self.paths))


@dataclass(frozen=True, kw_only=True)
class _Called:
    """Paths of the submodules whose outputs can be looked at, in the order in which they are done.

    ``own`` are those whose output is one of the model's: which.
    """

    paths: tuple[str, ...]
    own: Mapping[str, int]
    outputs: int


def with_layers(model: LoadedModel, sdk: str) -> tuple[LoadedModel, tuple[LayerOutput, ...]]:
    """The model with the outputs of its layers after its own, and which they are: by method, in the order of execution.

    Left out are layers that pass a tensor on unchanged, and those that a backend fuses with the one behind them.
    """
    methods, layers = [], []
    for traced, method in zip(trace(model, sdk), model.methods, strict=True):
        last = _last_nodes(traced.program.graph.nodes)
        called = _called(method)
        chosen = _evenly([path for path in called.paths if not _fuses(last.get(path))])
        added = [path for path in chosen if path not in called.own]
        for path in chosen:
            place = called.own[path] if path in called.own else called.outputs + added.index(path)
            layers.append(LayerOutput(layer=_layer(method, path, last.get(path), model.user_root), output=place))
        methods.append(_layered(method, added))
    return LoadedModel(name=model.name, methods=tuple(methods), user_root=model.user_root), tuple(layers)


def _layered(method: LoadedMethod, paths: Sequence[str]) -> LoadedMethod:
    module = LayeredModule(method.module, paths)
    module.training = False  # not .eval(): see tracing.py
    dynamic = method.dynamic_shapes
    if isinstance(dynamic, Mapping):  # the names of forward's parameters are lost behind *inputs
        dynamic = tuple(dynamic.get(name) for name in input_names(method.module, len(method.example_inputs)))
    return replace(method, module=module, golden_inputs=method.golden_inputs[:_CASES], dynamic_shapes=dynamic)


def _layer(method: LoadedMethod, path: str, node: Node | None, user_root: str) -> Layer:
    stack = node.meta.get("stack_trace") if node is not None else None
    line = innermost_line(stack, user_root) if isinstance(stack, str) else None
    return Layer(method=method.name, module=path, kind=type(method.module.get_submodule(path)).__name__, source=str(line or ""))


def _called(method: LoadedMethod) -> _Called:
    modules = {path: module for path, module in method.module.named_modules() if path}
    outputs: list[Tensor] = []
    root = method.module.register_forward_hook(lambda _module, _inputs, output: outputs.extend(flatten_outputs(output)))
    try:
        with _outputs_of(modules, copied=False) as seen:
            run_eagerly(method.module, [method.example_inputs])
    finally:
        root.remove()
    own = {tensor.data_ptr(): number for number, tensor in enumerate(outputs)}
    found: dict[int, str] = {}
    for path, tensor in seen.items():
        if tensor.is_floating_point() and tensor.numel():
            found.setdefault(tensor.data_ptr(), path)  # all are alive, so no address is used twice
    for tensor in method.example_inputs:
        found.pop(tensor.data_ptr(), None)
    return _Called(
        paths=tuple(found.values()),
        own={path: own[place] for place, path in found.items() if place in own},
        outputs=len(outputs),
    )


@contextmanager
def _outputs_of(modules: Mapping[str, nn.Module], *, copied: bool = True) -> Iterator[dict[str, Tensor]]:
    """What each of the modules gives first while the block runs, if that is a tensor. A copy, for it may be changed later."""
    seen: dict[str, Tensor] = {}
    handles = []

    def look(path: str, output: object) -> None:
        if path not in seen and isinstance(output, Tensor):
            seen[path] = output.clone() if copied else output

    for path, module in modules.items():
        handles.append(module.register_forward_hook(lambda _module, _inputs, output, path=path: look(path, output)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _last_nodes(nodes: Sequence[Node]) -> dict[str, Node]:
    """The last node of each module, by the module's path."""
    found: dict[str, Node] = {}
    for node in nodes:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if node.op == "call_function" and stack:
            found[str(stack[-1][0]).removeprefix("inner.")] = node
    return found


def _fuses(node: Node | None) -> bool:
    users = list(node.users) if node is not None else []
    return bool(users) and all(str(user.target).removeprefix("aten.").partition(".")[0] in _FUSED for user in users)


def _evenly(paths: Sequence[str]) -> list[str]:
    count = min(len(paths), _MOST_LAYERS)
    return [paths[(number + 1) * len(paths) // count - 1] for number in range(count)]
