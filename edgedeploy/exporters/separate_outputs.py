"""Outputs that are values of their own. Imports torch: load it when it is needed."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import Node


def separate_outputs(program: ExportedProgram) -> None:
    """Give outputs that are inputs, or one another, a value of their own, in place.

    Core ML names values once. LiteRT's compiled models write a value into one buffer only, and leave in that of its twin
    what was there before.
    """
    graph = program.graph_module.graph
    output = graph.output_node()
    seen: set[Node] = set()
    separate: list[Node] = []
    for value in cast("tuple[Node, ...]", output.args[0]):
        taken = value in seen or value.op == "placeholder"
        seen.add(value)
        if not taken or not isinstance(value.meta.get("val"), Tensor):
            separate.append(value)
            continue
        same = torch.ops.aten.logical_or.default if value.meta["val"].dtype == torch.bool else torch.ops.aten.maximum.default
        with graph.inserting_before(output):
            copy = graph.call_function(same, (value, value))  # x + 0 or x * 1 would be optimised away
            copy.meta = dict(value.meta)
            separate.append(copy)
    output.args = (tuple(separate),)
    for value, declared in zip(separate, program.graph_signature.output_specs, strict=True):
        if isinstance(declared.arg, TensorArgument):
            declared.arg.name = value.name
    program.graph_module.recompile()
