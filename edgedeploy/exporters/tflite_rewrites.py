"""Operators that litert-torch 0.10.0 refuses or gets wrong, written with those it has. Imports torch: load it when needed."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

aten = torch.ops.aten


def rewritten(program: ExportedProgram) -> ExportedProgram:
    """The same program, changed in place."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        name = str(node.target)
        if name.startswith("aten._assert") and not node.users:
            graph.erase_node(node)  # what only checks values (one_hot does) has no lowering
        elif name == "aten.upsample_nearest2d.vec" and not _enlarges_evenly(node):
            _nearest_by_index(node)
        elif name == "aten.avg_pool2d.default" and _pools_everything(node):
            node.target, node.args, node.kwargs = aten.mean.dim, (node.args[0], [-2, -1], True), {}
        elif name in {"aten.add.Tensor", "aten.sub.Tensor"} and "alpha" in node.kwargs:
            _with_factor(graph, node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _enlarges_evenly(node: Node) -> bool:
    """Whether every pixel becomes the same number of pixels: the only case in which TFLite's operator picks PyTorch's."""
    source = node.args[0]
    before = source.meta["val"].shape[-2:] if isinstance(source, Node) else ()
    after = node.meta["val"].shape[-2:]
    return all(isinstance(old, int) and isinstance(new, int) and new % old == 0 for old, new in zip(before, after, strict=True))


def _pools_everything(node: Node) -> bool:
    """Whether one window covers the whole picture and more (transformers' EfficientNet: 640 by 640 over 2 by 2).

    litert-torch fills the picture up to the window with zeros, 262 MB of them there, and corrects the mean in the next
    layer's weights: int8 has nothing left.
    """
    source, kernel, _, padding, _, _, divisor = (*node.args, *((None,) * 7))[:7]
    before = source.meta["val"].shape[-2:] if isinstance(source, Node) else ()
    if padding not in (None, [0, 0], 0, [0]) or divisor is not None or list(node.meta["val"].shape[-2:]) != [1, 1]:
        return False
    window = [kernel, kernel] if isinstance(kernel, int) else cast("list[int]", kernel)
    return all(isinstance(size, int) and size <= window[dim % len(window)] for dim, size in enumerate(before))


def _nearest_by_index(node: Node) -> None:
    """The overload that litert-torch computes by indices. TFLite's own takes pixel centers, PyTorch corners."""
    _, output_size, factors = (*node.args, None, None)[:3]
    if output_size is None:
        output_size = list(node.meta["val"].shape[-2:])
    scales = tuple(factors) if isinstance(factors, (list, tuple)) else (None, None)
    node.target = aten.upsample_nearest2d.default
    node.args = (node.args[0], output_size, *scales)


def _with_factor(graph: Graph, node: Node) -> None:
    """``x + alpha * y`` in two operators."""
    left, right = node.args
    alpha = node.kwargs["alpha"]
    with graph.inserting_before(node):
        scaled = graph.call_function(aten.mul.Tensor, (right, alpha))
    value = right.meta.get("val") if isinstance(right, Node) else None
    scaled.meta = dict(node.meta) | ({"val": torch.mul(value, cast("float", alpha))} if isinstance(value, Tensor) else {})
    node.args = (left, scaled)
    node.kwargs = {}
