"""Embedding tables in int8, one scale per row, by ExecuTorch's own operator. Imports the SDK: load it when needed."""

from __future__ import annotations

import torch
from executorch.exir.passes import _quant_patterns_and_replacements as _registration  # noqa: F401 - registers embedding_byte
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedeploy.exporters.graph_tensors import stored_tensor

_MAX = 127
_TINY = 1e-10  # a row of zeros keeps a scale that can be divided by


def quantize_embeddings(module: GraphModule) -> int:
    """Replace every embedding of a float32 table in an exported module; returns how many there were.

    PT2E leaves tables in float32, where they are most of a small transformer's file.
    """
    graph = module.graph
    found = 0
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.embedding.default or node.args[0].op != "get_attr":
            continue
        path = str(node.args[0].target)
        table = stored_tensor(module, path)
        if table.dtype != torch.float32:
            continue
        scales = (table.abs().amax(dim=1) / _MAX).clamp(min=_TINY)
        values = (table / scales[:, None]).round().clamp(-_MAX, _MAX).to(torch.int8)
        names = [f"embedding_{found}_{part}" for part in ("values", "scales")]
        for name, tensor in zip(names, (values, scales), strict=True):
            module.register_buffer(name, tensor)
        with graph.inserting_before(node):
            arguments = [graph.get_attr(name) for name in names]
            smaller = graph.call_function(
                torch.ops.quantized_decomposed.embedding_byte.default,
                (*arguments, None, -_MAX - 1, _MAX, _as_int64(node.args[1])),
            )
        smaller.meta = dict(node.meta)
        node.replace_all_uses_with(smaller)
        graph.erase_node(node)
        found += 1
    graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return found


def _as_int64(indices: Node) -> Node:
    """ExecuTorch's kernel for int8 tables ends the process at any other width."""
    value = indices.meta.get("val")
    if isinstance(value, Tensor) and value.dtype == torch.int64:
        return indices
    wide = indices.graph.call_function(torch.ops.aten.to.dtype, (indices, torch.int64))
    if isinstance(value, Tensor):
        wide.meta["val"] = value.to(torch.int64)
    return wide
