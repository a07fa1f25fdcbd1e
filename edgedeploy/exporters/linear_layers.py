"""Linear layers that are written as matrix products. Imports torch: load it when it is needed."""

from __future__ import annotations

from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgedeploy.exporters.graph_tensors import stored_tensor

aten = torch.ops.aten


def as_linear(module: GraphModule) -> None:
    """Write ``addmm(bias, x, weight)`` of a weight as a linear layer: GPT-2 has its layers so, and quantizers look for those.

    The weight is stored transposed, in a buffer of its own.
    """
    graph = module.graph
    for number, node in enumerate(list(graph.nodes)):
        if node.target is not aten.addmm.default or node.kwargs or not all(isinstance(part, Node) for part in node.args):
            continue
        bias, values, weight = cast("tuple[Node, Node, Node]", node.args)
        if weight.op != "get_attr" or bias.op != "get_attr" or values.op == "get_attr":
            continue
        matrix = stored_tensor(module, str(weight.target))
        if matrix.dim() != 2 or stored_tensor(module, str(bias.target)).dim() != 1:  # noqa: PLR2004 - a matrix and a vector
            continue
        name = f"_edgedeploy_transposed_{number}"
        module.register_buffer(name, matrix.T.contiguous())
        with graph.inserting_before(node):
            transposed = graph.get_attr(name)
            layer = graph.call_function(aten.linear.default, (values, transposed, bias))
        layer.meta = dict(node.meta)
        node.replace_all_uses_with(layer)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
