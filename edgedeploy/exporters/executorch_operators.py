"""What runs where in an ExecuTorch program, and how a profile finds it again. Imports the SDK: load it when needed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.exir.schema import DelegateCall, ExecutionPlan, KernelCall
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from edgedeploy.domain.artifact import DelegateGraph, Operator
from edgedeploy.errors import InternalError
from edgedeploy.exporters.diagnosis import innermost_line
from edgedeploy.exporters.xnnpack_payload import XnnNode, xnnpack_nodes

_DELEGATE_CALL = "executorch_call_delegate"
_TRANSPOSED = 6  # place of aten.convolution's argument
# What a quantizer puts around the user's operators; delegates fold it into them.
_NOT_THE_USERS = ("quantized_decomposed::", "torchao::", "dim_order_ops::_clone_dim_order")

# Where operators of one and the same debug handle went in XNNPACK's graph (executorch/backends/xnnpack/operators), unless
# both have one name.
_XNN_KINDS = {
    "aten.convolution": ("XNNConv2d", "XNNDepthwiseConv2d", "XNNConvTranspose2d"),
    "aten.linear": ("XNNFullyConnected",),
    "aten.addmm": ("XNNFullyConnected",),
    "aten.mm": ("XNNFullyConnected",),
    "aten.bmm": ("XNNBatchMatrixMultiply",),
    "aten.view_copy": ("XNNStaticReshape",),
    "aten.squeeze_copy": ("XNNStaticReshape",),
    "aten.unsqueeze_copy": ("XNNStaticReshape",),
    "aten.permute_copy": ("XNNStaticTranspose",),
    "aten.slice_copy": ("XNNStaticSlice",),
    "aten.cat": ("XNNConcatenate2", "XNNConcatenate3", "XNNConcatenate4", "XNNConcatenate5"),
    "aten._softmax": ("XNNSoftmax",),
    "aten.mul": ("XNNMultiply",),
    "aten.sub": ("XNNSubtract",),
    "aten.neg": ("XNNNegate",),
    "aten.ceil": ("XNNCeiling",),
    "aten.sqrt": ("XNNSquareRoot",),
    "aten.rsqrt": ("XNNReciprocalSquareRoot",),
    "aten.pow": ("XNNSquare",),
    "aten.relu": ("XNNClamp",),
    "aten.hardtanh": ("XNNClamp",),
    "aten.clone": ("XNNCopy",),
    "aten.constant_pad_nd": ("XNNStaticConstantPad",),
    "aten.mean": ("XNNGlobalAvgPooling2d",),
    "aten.avg_pool2d": ("XNNAvgPooling2d",),
    "aten.max_pool2d": ("XNNMaxPooling2d",),
    "aten.amax": ("XNNMaxPooling2d",),
    "aten.max": ("XNNArgMaxPooling2d",),
    "aten.leaky_relu": ("XNNLeakyReLU",),
    "aten.upsample_bilinear2d": ("XNNStaticResizeBilinear2D",),
}


@dataclass(frozen=True, kw_only=True)
class WhatRuns:
    """The operators of a method in the order of execution, and the graphs of its delegates."""

    operators: tuple[Operator, ...]
    delegate_graphs: tuple[DelegateGraph, ...]


def what_runs(program: ExportedProgram, plan: ExecutionPlan, *, method: str, user_root: str) -> WhatRuns:
    """What one method of a finished program consists of.

    Args:
        program: the method as ``ExecutorchProgramManager.exported_program`` returns it. The emitter has left the number
            of the instruction in ``meta["debug_handle"]`` of every node that became one.
        plan: its execution plan, of ``executorch_program``; what the graph says is compared with it.
        method: as the artifact is to call it.
        user_root: the user's folder, for lines of source.
    """
    rows = _Rows(method, user_root)
    instructions = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    graphs = []
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        if _name_of(node) == _DELEGATE_CALL:
            lowered = _lowered_module(program, node)
            call = _instruction(node, instructions, DelegateCall)
            nodes = rows.add_delegate(lowered, call)
            if call is not None and nodes:
                kinds = tuple(one.kind for one in nodes)
                graphs.append(DelegateGraph(method=method, call=call, delegate=lowered.backend_id, nodes=kinds))
        elif (call := _instruction(node, instructions, KernelCall)) is not None:
            rows.add(node, delegate=None, call=call)
    return WhatRuns(operators=tuple(rows.all), delegate_graphs=tuple(graphs))


class _Rows:
    def __init__(self, method: str, user_root: str) -> None:
        self._method = method
        self._user_root = user_root
        self.all: list[Operator] = []

    def add(self, node: Node, *, delegate: str | None, call: int | None, steps: tuple[int, ...] = ()) -> None:
        stack_trace = node.meta.get("stack_trace")
        line = innermost_line(stack_trace, self._user_root) if isinstance(stack_trace, str) else None
        row = Operator(
            operator=_operator_name(node),
            name=node.name,
            delegate=delegate,
            macs=_macs(node),
            source=str(line or ""),
            module=_module_path(node),
            method=self._method,
            call=call,
            steps=steps,
        )
        self.all.append(row)

    def add_delegate(self, lowered: LoweredBackendModule, call: int | None) -> tuple[XnnNode, ...]:
        """Add the user's operators in a delegate; return the nodes of its own graph, where that can be read."""
        nodes = xnnpack_nodes(lowered.processed_bytes) if lowered.backend_id == "XnnpackBackend" else ()
        users = [node for node in lowered.original_module.graph.nodes if _is_the_users(node)]
        steps = _steps(users, nodes)
        for node in users:
            self.add(node, delegate=lowered.backend_id, call=call, steps=tuple(steps[node.name]))
        return nodes


def _steps(users: Sequence[Node], nodes: Sequence[XnnNode]) -> dict[str, list[int]]:
    """Which nodes of XNNPACK's graph each operator became, by its name.

    A debug handle stands for one operator of the traced model. Where that was decomposed, several operators have one
    handle: there the kind decides, in order. What has no kind of its own (conversions to and from int8) goes to the
    operator before it.
    """
    by_handle: dict[int, list[Node]] = defaultdict(list)
    for node in users:
        if isinstance(handle := node.meta.get("debug_handle"), int):
            by_handle[handle].append(node)
    steps: dict[str, list[int]] = defaultdict(list)
    at: dict[int, int] = defaultdict(int)
    for step, ran in enumerate(nodes):
        candidates = by_handle.get(ran.debug_handle, [])
        if not candidates:
            continue
        later = range(at[ran.debug_handle], len(candidates))
        suiting = [place for place in later if _became(candidates[place], ran.kind)]
        unused = (place for place in suiting if not _has_its_kind(steps[candidates[place].name], nodes, ran.kind))
        place = next(unused, min(at[ran.debug_handle], len(candidates) - 1))
        at[ran.debug_handle] = place
        steps[candidates[place].name].append(step)
    return steps


def _has_its_kind(steps: Sequence[int], nodes: Sequence[XnnNode], kind: str) -> bool:
    return any(nodes[step].kind == kind for step in steps)


def _became(node: Node, kind: str) -> bool:
    operator = _operator_name(node)
    if operator in _XNN_KINDS:
        return kind in _XNN_KINDS[operator]
    plain = operator.rpartition(".")[2].replace("_", "").lower()
    return plain == kind.removeprefix("XNN").lower()


def _is_the_users(node: Node) -> bool:
    # Beside operators there are getitem, sym_size and arithmetic on sizes, which have no schema.
    if node.op != "call_function" or not (schema := _schema_name(node)):
        return False
    return not schema.startswith(_NOT_THE_USERS)


def _schema_name(node: Node) -> str:
    """``aten::add``; empty for what is no operator."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name) if schema is not None else ""


def _operator_name(node: Node) -> str:
    return _schema_name(node).replace("::", ".")


def _name_of(node: Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _lowered_module(program: ExportedProgram, call: Node) -> LoweredBackendModule:
    reference = call.args[0]
    lowered = getattr(program.graph_module, str(reference.target)) if isinstance(reference, Node) else None
    if not isinstance(lowered, LoweredBackendModule):
        raise InternalError("a delegate's call without its module", where=call.name, seen=str(reference))
    return lowered


def _instruction(node: Node, instructions: Sequence[object], kind: type) -> int | None:
    """The instruction that a node became; None for one that became none, such as an allocation."""
    number = node.meta.get("debug_handle")
    if isinstance(number, int) and 0 <= number < len(instructions) and isinstance(instructions[number], kind):
        return number if kind is DelegateCall or _schema_name(node) else None
    return None


def _module_path(node: Node) -> str:
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path, _ = list(stack.values())[-1]
    return str(path).removeprefix("L['self'].")


def _macs(node: Node) -> int:
    """Multiply-accumulates of the operators that do nearly all of them; 0 for the others."""
    operator = _operator_name(node).rpartition(".")[2]
    shapes = [_shape(argument) for argument in node.args]
    out = _shape(node)
    if not out or len(shapes) < 2:  # noqa: PLR2004 - an input and a weight
        return 0
    if operator in {"convolution", "conv1d", "conv2d"} and shapes[1]:
        transposed = any(argument is True for argument in node.args[_TRANSPOSED : _TRANSPOSED + 1])
        # A weight is [out, in/groups, *kernel]; transposed [in, out/groups, *kernel], used once per input element.
        return math.prod(shapes[0] if transposed else out) * math.prod(shapes[1][1:])
    if operator in {"linear", "mm", "bmm", "matmul"} and shapes[0]:
        return math.prod(out) * shapes[0][-1]
    if operator == "addmm" and shapes[1]:
        return math.prod(out) * shapes[1][-1]
    return 0


def _shape(argument: object) -> tuple[int, ...]:
    """The shape of a node's value in the example; empty for what is no tensor."""
    value = argument.meta.get("val") if isinstance(argument, Node) else None
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return tuple(_sizes(value)) if isinstance(value, Tensor) else ()


def _sizes(value: Tensor) -> Iterator[int]:
    for size in value.shape:
        # A dynamic size knows the example's as its hint; asking it as an int would make it static.
        yield size if isinstance(size, int) else int(size.node.hint or 0)
