"""Which operators of a traced method compute its outputs from its inputs, and where the user calls them. Imports torch."""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from edgedeploy.exporters.diagnosis import innermost_line


def operator_lines(program: ExportedProgram, user_root: str) -> dict[str, str]:
    """Operators (``median.dim``) with the line of the user's Python that calls each first; empty where that is not known.

    Left out is what no converter keeps: what no output needs, and what is the same in every call.
    """
    signature = program.graph_signature
    moving = {*signature.user_inputs, *signature.buffers_to_mutate.values()}
    nodes = list(program.graph.nodes)
    needed = _needed(nodes)
    placeholders = {spec.arg.name for spec in signature.input_specs if spec.arg.name in moving or spec.target in moving}
    computed: set[Node] = set()
    lines: dict[str, str] = {}
    for node in nodes:
        if node.op == "placeholder" and node.name in placeholders:
            computed.add(node)
        elif node.op == "call_function" and any(source in computed for source in node.all_input_nodes):
            computed.add(node)
            if node in needed and str(node.target).startswith("aten."):
                name = str(node.target).removeprefix("aten.")
                lines[name] = lines.get(name) or _line(node, user_root)
    return lines


def _needed(nodes: list[Node]) -> set[Node]:
    """Every node that an output is computed from, or that changes a tensor in place."""
    waiting = [node for node in nodes if node.op == "output" or (node.op == "call_function" and node.is_impure())]
    found: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _line(node: Node, user_root: str) -> str:
    trace = node.meta.get("stack_trace")
    return str(innermost_line(trace, user_root) or "") if isinstance(trace, str) else ""
