"""A model that also gives the outputs of its layers, so that any exporter and any runner can be asked where an error begins.

Imports torch: load it when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from edgedeploy.domain.measurement import Layer
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


def with_layers(model: LoadedModel, sdk: str) -> tuple[LoadedModel, tuple[Layer, ...]]:
    """The model with the outputs of its layers after its own, and which they are: by method, in the order of execution.

    Left out are layers that pass a tensor on unchanged, and those that a backend fuses with the one behind them.
    """
    methods, layers = [], []
    for traced, method in zip(trace(model, sdk), model.methods, strict=True):
        last = _last_nodes(traced.program.graph.nodes)
        found = _evenly([path for path in _called(method) if not _fuses(last.get(path))])
        layers += [_layer(method, path, last.get(path), model.user_root) for path in found]
        methods.append(_layered(method, found))
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


def _called(method: LoadedMethod) -> list[str]:
    """Paths of the submodules that forward calls, each when it is done, without those that give what another gave."""
    modules = {path: module for path, module in method.module.named_modules() if path}
    with _outputs_of(modules, copied=False) as seen:
        run_eagerly(method.module, [method.example_inputs])
    given = {tensor.data_ptr() for tensor in method.example_inputs}
    paths = []
    for path, tensor in seen.items():
        if tensor.is_floating_point() and tensor.numel() and tensor.data_ptr() not in given:
            given.add(tensor.data_ptr())  # all are alive, so no address is used twice
            paths.append(path)
    return paths


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
