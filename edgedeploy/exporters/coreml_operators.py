"""What a Core ML program consists of, operator by operator. Imports coremltools: load it when it is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from coremltools.converters.mil.mil import Operation, Var
from coremltools.converters.mil.mil.scope import ScopeSource
from torch import SymInt, Tensor
from torch.fx import Node

from edgedeploy.domain.artifact import Operator
from edgedeploy.exporters.coreml_program import Converted
from edgedeploy.exporters.diagnosis import innermost_line
from edgedeploy.exporters.mlpackage import operations

_DELEGATE = "CoreML"


def operators_of(converted: Converted, *, function: str, package: Any, user_root: str) -> tuple[Operator, ...]:
    """The operators of one function of a package, in its order.

    Core ML decides on the device which of its compute units runs each: all are its delegate's. The package has no trace
    of PyTorch: an operator is found by its output's name in the program before it was compressed and written.
    """
    described = _described(converted, user_root)
    rows = []
    for operation in operations(package, function):
        name = operation.outputs[0].name if operation.outputs else operation.name
        known = described.get(name)
        rows.append(
            Operator(
                operator=operation.op_type,
                name=name,
                delegate=_DELEGATE,
                macs=known.macs if known and known.operator == operation.op_type else 0,
                source=known.source if known else "",
                module=known.module if known else "",
                method=converted.traced.name,
            )
        )
    return tuple(rows)


def _described(converted: Converted, user_root: str) -> dict[str, Operator]:
    """Operators of the program as coremltools made it, by their first output's name."""
    nodes = {node.meta["debug_handle"]: node for node in converted.program.graph.nodes if "debug_handle" in node.meta}
    sizes = _example_sizes(converted)
    # The same call, as the first trace knows it: quantization loses lines and modules.
    before = {node.name: node for node in converted.traced.program.graph.nodes}
    found = {}
    for operation in operations(converted.model._mil_program, "main"):  # noqa: SLF001  the program is nowhere else
        handles = operation.scopes.get(ScopeSource.EXIR_DEBUG_HANDLE, [])
        node = next((nodes[handle] for handle in reversed(handles) if handle in nodes), None)
        described = [one for one in (node, before.get(node.name) if node else None) if one is not None]
        name = operation.outputs[0].name if operation.outputs else operation.name
        found[name] = Operator(
            operator=operation.op_type,
            name=name,
            macs=_macs(operation, sizes, node),
            source=next((line for one in described if (line := _source(one, user_root))), ""),
            module=next((path for one in described if (path := _module(one))), ""),
        )
    return found


def _source(node: Node, user_root: str) -> str:
    trace = node.meta.get("stack_trace")
    line = innermost_line(trace, user_root) if isinstance(trace, str) else None
    return str(line or "")


def _module(node: Node) -> str:
    stack = node.meta.get("nn_module_stack")
    if not isinstance(stack, Mapping) or not stack:
        return ""
    path = str(list(stack.values())[-1][0])
    return path.removeprefix("L['self'].").removeprefix("inner").removeprefix(".")


def _example_sizes(converted: Converted) -> dict[Any, int]:
    """The example's size for every symbol of the program's input shapes."""
    declared = converted.model._mil_program.functions["main"].inputs  # noqa: SLF001  the program is nowhere else
    return {
        size: example
        for spec in converted.traced.inputs
        if spec.name in declared
        for size, example in zip(declared[spec.name].shape, spec.shape, strict=False)
        if not isinstance(size, int)
    }


def _macs(operation: Operation, sizes: Mapping[Any, int], node: Node | None) -> int:
    """Multiply-accumulates of one operator; 0 for those that multiply no matrices, and for loops.

    Counts of https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html: the shapes are those
    of its weight layouts.
    """
    count = dict(_counted(operation, sizes, node))
    return count.get(operation.op_type, 0)


def _counted(operation: Operation, sizes: Mapping[Any, int], node: Node | None) -> Iterator[tuple[str, int]]:
    def shape(var: Var) -> list[int]:
        found = [_size(size, sizes) for size in var.shape]
        # Where coremltools lost the connection to the inputs (a convolution's output), PyTorch has it.
        return [example if size is None else size for size, example in zip(found, _example(node, len(found)), strict=True)]

    match operation.op_type:
        case "conv":
            yield "conv", math.prod(shape(operation.outputs[0])) * math.prod(shape(operation.weight)[1:])
        case "conv_transpose":
            yield "conv_transpose", math.prod(shape(operation.x)) * math.prod(shape(operation.weight)[1:])
        case "linear":
            yield "linear", math.prod(shape(operation.outputs[0])) * shape(operation.weight)[-1]
        case "matmul":
            inner = -2 if operation.transpose_x.val else -1
            yield "matmul", math.prod(shape(operation.outputs[0])) * shape(operation.x)[inner]
        case "scaled_dot_product_attention":
            query, key, value = shape(operation.query), shape(operation.key), shape(operation.value)
            yield "scaled_dot_product_attention", math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
        case "lstm":
            steps, batch = shape(operation.x)[:2]
            weights = [operation.weight_ih, operation.weight_hh, operation.weight_ih_back, operation.weight_hh_back]
            yield "lstm", steps * batch * sum(math.prod(shape(weight)) for weight in weights if weight is not None)


def _size(size: Any, sizes: Mapping[Any, int]) -> int | None:
    """A dimension at the example's shapes; None for a symbol that is not the inputs'."""
    if not hasattr(size, "subs"):
        return int(size)
    known = size.subs(sizes)
    return int(known) if known.is_Integer else None


def _example(node: Node | None, rank: int) -> list[int]:
    """The shape of a node's value at the example's shapes; zeros where it is of another rank, and for what data decide."""
    value = node.meta.get("val") if node is not None else None
    if not isinstance(value, Tensor) or value.ndim != rank:
        return [0] * rank
    dims: list[object] = list(value.shape)
    return [int(size.node.hint or 0) if isinstance(size, SymInt) else int(str(size)) for size in dims]
