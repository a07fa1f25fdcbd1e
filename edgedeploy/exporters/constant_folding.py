"""A program that does not compute on the device what depends on no input. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.fx import Node
from torch.utils import _pytree as pytree

_NAME = "edgedeploy_constant"
# Larger ones (a table of a million zeros) are quicker to compute than to read.
_MOST_BYTES = 1 << 20


def fold_constants(program: ExportedProgram) -> None:
    """Put tensors in the place of ``arange``, ``eye`` and whatever is computed from such alone. Weights stay what they are."""
    known: dict[Node, Tensor] = {}
    for node in program.graph.nodes:
        if _is_pure(node) and all(argument in known for argument in node.all_input_nodes):
            value = _computed(node, known)
            if value.nbytes <= _MOST_BYTES:
                known[node] = value
    for number, (node, value) in enumerate(known.items()):
        if any(user not in known for user in node.users):
            constant = _add_constant(program, f"{_NAME}_{number}", value, node)
            node.replace_all_uses_with(constant, delete_user_cb=lambda user: user not in known)
    for node in reversed(known):
        program.graph.erase_node(node)
    program.graph_module.recompile()


def _add_constant(program: ExportedProgram, name: str, value: Tensor, like: Node) -> Node:
    """A further placeholder, before the user's inputs, as torch.export makes of a tensor in the code."""
    specs = program.graph_signature.input_specs
    place = next((number for number, spec in enumerate(specs) if spec.kind == InputKind.USER_INPUT), len(specs))
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    following = placeholders[place] if place < len(placeholders) else like
    with program.graph.inserting_before(following):
        node = program.graph.placeholder(name)
    node.meta["val"] = like.meta["val"]
    argument = TensorArgument(name=node.name)
    specs.insert(place, InputSpec(kind=InputKind.CONSTANT_TENSOR, arg=argument, target=node.name, persistent=None))
    program.constants[node.name] = value
    return cast("Node", node)


def _computed(node: Node, known: Mapping[Node, Tensor]) -> Tensor:
    args, kwargs = pytree.tree_map_only(Node, known.__getitem__, (node.args, node.kwargs))
    with torch.no_grad():
        return cast("Tensor", cast("OpOverload", node.target)(*args, **kwargs)).contiguous()


def _is_pure(node: Node) -> bool:
    """Whether a node gives one tensor of a fixed shape, which depends on its arguments alone."""
    target, value = node.target, node.meta.get("val")
    return (
        node.op == "call_function"
        and isinstance(target, OpOverload)
        and target.namespace == "aten"
        and torch.Tag.nondeterministic_seeded not in target.tags
        and isinstance(value, Tensor)
        and all(isinstance(size, int) for size in value.shape)
        and not any(user.op == "output" for user in node.users)
    )
