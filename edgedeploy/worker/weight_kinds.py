"""Which kind of layer reads each weight of a traced model. Imports torch: load it when it is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgspec
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec
from torch.fx import Node

from edgedeploy.domain.profile import State, Weight, WeightKind
from edgedeploy.exporters.state import changed_buffers

_STORED = frozenset({InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR})

# What hands a tensor on as it is, or nearly so: the operator behind it decides.
_PASSED_ON = frozenset(
    {"t", "transpose", "permute", "view", "reshape", "unsqueeze", "squeeze", "expand", "slice", "alias", "detach", "clone"}
    | {"contiguous", "to", "_to_copy", "type_as", "flatten", "unflatten", "select", "numpy_T", "detach_", "lift_fresh_copy"}
    | {"_weight_norm", "_weight_norm_interface"}
)
CONVOLUTIONS = frozenset(
    {"conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
)
_NORMALISATIONS = frozenset({"layer_norm", "group_norm", "instance_norm", "rms_norm", "batch_norm"})
# Table and indices are their first arguments.
_LOOKUPS = frozenset({"embedding", "index"})
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"})
# Argument by argument: (operator, position) to kind.
_BY_POSITION: dict[tuple[str, int], WeightKind] = {
    ("linear", 1): "linear",
    ("linear", 2): "bias",
    ("addmm", 0): "bias",
    ("addmm", 2): "linear",
    ("embedding_bag", 0): "embedding",
    **{(name, 1): "conv" for name in CONVOLUTIONS},
    **{(name, 2): "bias" for name in CONVOLUTIONS},
}


def weights_of(programs: Sequence[ExportedProgram]) -> tuple[Weight, ...]:
    """Every parameter, buffer and constant with the kinds of layers that read it; what methods or layers share, once.

    State is none: formats keep room for it when they run, and nothing in the file.
    """
    found: dict[tuple[object, ...], Weight] = {}
    for program in programs:
        nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        changed = changed_buffers(program)
        for spec in program.graph_signature.input_specs:
            tensor = stored_tensor(program, spec) if spec.kind in _STORED else None
            if tensor is None or spec.target in changed:
                continue
            identity = (tensor.data_ptr(), tuple(tensor.shape), tensor.dtype) if tensor.numel() else (spec.target,)
            weight = _weight(spec, tensor, nodes[spec.arg.name], frozenset(program.graph_signature.user_inputs))
            known = found.get(identity)
            found[identity] = weight if known is None else _merged(known, weight)
    return tuple(found.values())


def states_of(program: ExportedProgram) -> tuple[State, ...]:
    """The buffers that a call changes."""
    changed = changed_buffers(program)
    return tuple(
        State(
            name=(spec.target or spec.arg.name).removeprefix("inner."),
            dtype=str(tensor.dtype).removeprefix("torch."),
            size_bytes=tensor.nbytes,
            zeros=not bool(tensor.any()),
        )
        for spec in program.graph_signature.input_specs
        if spec.target in changed and (tensor := stored_tensor(program, spec)) is not None
    )


def stored_tensor(program: ExportedProgram, spec: InputSpec) -> torch.Tensor | None:
    """The tensor behind a placeholder; None for what is none (a custom object)."""
    held = program.constants if spec.kind is InputKind.CONSTANT_TENSOR or spec.persistent is False else program.state_dict
    value = held.get(spec.target or "")
    return value if isinstance(value, torch.Tensor) else None


def operator_name(node: Node) -> str:
    """``layer_norm`` for a node that calls ``aten.layer_norm.default``."""
    return str(node.target).partition(".")[2].partition(".")[0]


def _weight(spec: InputSpec, tensor: torch.Tensor, node: Node, inputs: frozenset[object]) -> Weight:
    kinds: tuple[WeightKind, ...] = tuple(dict.fromkeys(_kinds(node, tensor.dim(), inputs)))
    lookups = [user for user in node.users if operator_name(user) in _LOOKUPS and user.args[0] is node]
    folded = any(operator_name(user) == "batch_norm" for user in node.users)
    return Weight(
        name=spec.target or spec.arg.name,
        kinds=kinds or ("unused",),
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(int(extent) for extent in tensor.shape),
        element_bytes=tensor.element_size(),
        looked_up=sum(int(user.meta["val"].numel()) for user in lookups) if "lookup" in kinds else 0,
        digest="" if folded else _digest(tensor),
        before_relu=any(map(_meets_relu, node.users)),
        zeros=not folded and not bool(tensor.any()),
    )


def _meets_relu(layer: Node) -> bool:
    """Whether a convolution's output, normalised or not, goes into a ReLU and nowhere else."""
    if operator_name(layer) not in CONVOLUTIONS:
        return False
    while len(layer.users) == 1:
        (user,) = layer.users
        if operator_name(user) != "batch_norm":
            return operator_name(user) in {"relu", "relu_"}
        layer = user
    return False


def _digest(tensor: torch.Tensor) -> str:
    """Short, of all bytes. Cost: a second per GB."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.blake2b(content.numpy().data, digest_size=8).hexdigest()


def _merged(one: Weight, other: Weight) -> Weight:
    kinds = tuple(kind for kind in dict.fromkeys((*one.kinds, *other.kinds)) if kind != "unused")
    return msgspec.structs.replace(one, kinds=kinds or ("unused",))


def _kinds(node: Node, dims: int, inputs: frozenset[object]) -> Iterator[WeightKind]:
    for user in node.users:
        if user.op != "call_function":
            continue
        name = operator_name(user)
        if name in _PASSED_ON:
            yield from _kinds(user, dims, inputs)
        elif name in _LOOKUPS and _is_constant(user.args[:2], inputs):
            yield "lookup"
        elif name == "embedding" and user.args[0] is node:
            yield "embedding"
        elif name == "batch_norm":
            yield _of_batch_norm(user, node)
        elif name in _NORMALISATIONS:
            yield "norm"
        elif name in _RECURRENT:
            yield "recurrent" if dims > 1 else "bias"
        else:
            positions = [index for index, argument in enumerate(user.args) if argument is node]
            yield from (_BY_POSITION.get((name, position), "other") for position in positions or [-1])


def folds(norm: Node) -> bool:
    """Whether a BatchNorm vanishes: into a convolution or linear layer that nothing else reads."""
    layer = norm.args[0]
    return isinstance(layer, Node) and len(layer.users) == 1 and operator_name(layer) in CONVOLUTIONS | {"linear"}


def _of_batch_norm(norm: Node, weight: Node) -> WeightKind:
    """The shift of a BatchNorm that vanishes stays as its layer's bias."""
    layer = norm.args[0]
    if not folds(norm) or not isinstance(layer, Node):
        return "statistics" if weight in norm.args[3:5] else "norm"
    has_bias = len(layer.args) > 2 and layer.args[2] is not None  # noqa: PLR2004 - input, weight, bias
    is_shift = norm.args[2] is weight
    return "bias" if is_shift and not has_bias else "folded"


def _is_constant(values: Sequence[object], inputs: frozenset[object]) -> bool:
    """Whether values are the same in every call: they come from weights and numbers alone."""
    seen: set[Node] = set()
    waiting: list[object] = list(values)
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):  # index takes a list
            waiting += node
        if not isinstance(node, Node) or node in seen:
            continue
        if node.name in inputs:
            return False
        seen.add(node)
        waiting += node.all_input_nodes
    return True
