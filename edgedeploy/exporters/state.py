"""The buffers that a traced method changes. Imports torch: load it when it is needed."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node

# What hands on a tensor, or a view of it, to be written to.
_VIEWS = frozenset(
    {"t", "transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "expand", "slice", "alias", "detach", "select"}
    | {"narrow", "flatten", "unflatten", "numpy_T", "view_as", "swapaxes", "movedim", "diagonal", "contiguous"}
)


def changed_buffers(program: ExportedProgram) -> frozenset[str]:
    """Names of the buffers that a call changes."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    written = {
        spec.target
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.BUFFER and spec.target is not None and _is_written(nodes[spec.arg.name])
    }
    return frozenset(written) | frozenset(program.graph_signature.buffers_to_mutate.values())


def module_to_quantize(program: ExportedProgram, *, check_guards: bool = True) -> GraphModule:
    """The program as a module that torchao may quantize.

    Where a call changes buffers, it does so by ``copy_`` at its end. torchao 0.18 knows state by that alone: of a buffer that
    another operator changes in place it computes the next value once and for all, and changes the user's model by it.
    """
    return (program.run_decompositions({}) if changed_buffers(program) else program).module(check_guards=check_guards)


def _is_written(node: Node) -> bool:
    """Whether an operator writes into a tensor or a view of it."""
    return any(
        _writes_first_argument(user) or (_name(user) in _VIEWS and _is_written(user))
        for user in node.users
        if user.args and user.args[0] is node
    )


def _name(node: Node) -> str:
    return str(node.target).partition(".")[2].partition(".")[0]


def _writes_first_argument(node: Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001 - the type of every operator
        return False
    written = node.target._schema.arguments[0].alias_info  # noqa: SLF001 - there is no public way to ask
    return written is not None and bool(written.is_write)
