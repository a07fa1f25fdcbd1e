"""Int8 weights and activations for Core ML. Imports torch and torchao: load it when it is needed.

coremltools' own calibration runs the model by Core ML, on a Mac only. PT2E observes it in PyTorch, anywhere, and coremltools
reads what comes out. ExecuTorch has a quantizer for that, which spends minutes on tracing 405 patterns before it looks at
the model; this one walks the graph, and quantizes as that one does: symmetric, unsigned where no value is negative.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import FakeQuantizeBase, HistogramObserver, ObserverBase, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from edgedeploy.errors import ExportError
from edgedeploy.exporters.calibration import observe, state_put_back
from edgedeploy.exporters.tracing import Traced, export_program

_WEIGHTED = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"})
_COMPUTING = _WEIGHTED | {"add", "bmm", "matmul", "mul"}
_ACTIVATIONS = frozenset(
    {"elu", "gelu", "hardswish", "hardtanh", "leaky_relu", "relu", "relu6", "sigmoid", "silu", "tanh", "hardsigmoid"}
)
_NEVER_NEGATIVE = frozenset({"relu", "relu6", "sigmoid", "hardsigmoid", "softmax", "_softmax"})
# What comes out is on the scale of what goes in.
_SAME_SCALE = frozenset(
    {
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "avg_pool1d",
        "avg_pool2d",
        "flatten",
        "max_pool1d",
        "max_pool2d",
        "mean",
        "permute",
        "reshape",
        "squeeze",
        "transpose",
        "unflatten",
        "unsqueeze",
        "view",
    }
)
_SIGNED = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_tensor_symmetric,
    observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
)
_UNSIGNED = QuantizationSpec(
    dtype=torch.uint8,
    quant_min=0,
    quant_max=255,
    qscheme=torch.per_tensor_affine,  # the least value is 0, and so is the zero point
    observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
)


class CoremlQuantizer(Quantizer):  # type: ignore[misc]  # the SDK has no type hints
    """Int8 inputs, weights and outputs for what multiplies matrices and adds; the rest stays float.

    Integer arithmetic (BERT's ``positions + 0``, whose sums index embeddings) and constants are left alone.
    """

    def annotate(self, model: GraphModule) -> GraphModule:
        """Say which edges are int8."""
        moving = _depending_on_inputs(model)
        for node in model.graph.nodes:
            if node not in moving:
                continue
            operator = _operator(node)
            if operator in _COMPUTING and _is_float(node):
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
                    input_qspec_map=_inputs(node, operator, moving),
                    # The activation that follows comes first: what is between the two is never int8.
                    output_qspec=None if _activation_of(node) else _value_spec(node),
                    _annotated=True,
                )
            elif operator in _ACTIVATIONS and _operator(_first(node)) in _COMPUTING and _is_float(node):
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(output_qspec=_value_spec(node), _annotated=True)
            elif operator in _SAME_SCALE and _is_float(node) and Q_ANNOTATION_KEY in _first(node).meta:
                source = _first(node)
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
                    input_qspec_map={source: _value_spec(source)},
                    output_qspec=SharedQuantizationSpec((source, node)),
                    _annotated=True,
                )
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing: every annotation stands for itself."""


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A program with fake-quantized arithmetic. ``weights`` are the floating ones behind its frozen parameters, in order."""

    program: ExportedProgram
    weights: tuple[Tensor, ...]


def quantize(traced: Traced) -> Quantized:
    """The method in int8, with ranges observed on its calibration inputs; runs in PyTorch as it will in Core ML.

    Raises:
        ExportError: no calibration inputs.
    """
    _require_calibration(traced.calibration)
    # torchao computes with buffers that forward changes as with constants; none of them is int8 here, so it is only put back.
    with torch.no_grad(), state_put_back(traced.program):
        observed = prepare_pt2e(traced.program.module(), CoremlQuantizer())
        observe(observed, traced.program, traced.calibration)
        weights = tuple(_observed_weights(observed))
        program = export_program(convert_pt2e(observed), traced.example_inputs, traced.shapes_one_by_one)
    return Quantized(program=program, weights=weights)


def _require_calibration(calibration: Sequence[tuple[Tensor, ...]]) -> None:
    if not calibration:
        raise ExportError(
            "int8 activations need calibration inputs, and there are none",
            where="calibration",
            next_step="give ModelSource(calibration=…) ten to a few hundred real inputs, or choose int8-weights",
        )


def _depending_on_inputs(model: GraphModule) -> frozenset[Node]:
    """The nodes whose values a model's inputs change. Others (positions from ``arange``) coremltools computes itself."""
    found: set[Node] = set()
    for node in model.graph.nodes:
        if node.op == "placeholder" or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return frozenset(found)


def _inputs(node: Node, operator: str, moving: Container[Node]) -> dict[Node, QuantizationSpecBase]:
    specs: dict[Node, QuantizationSpecBase] = {}
    for position, value in enumerate(node.args[:2]):
        if not isinstance(value, Node) or not _is_float(value):
            continue
        if value in moving:
            specs[value] = _value_spec(value)
        elif value.op == "get_attr" and operator in _WEIGHTED and position == 1:
            specs[value] = _weight_spec(channel_axis=1 if operator.startswith("conv_transpose") else 0)
    return specs


def _weight_spec(channel_axis: int) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=channel_axis,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-12),
    )


def _value_spec(node: Node) -> QuantizationSpec:
    """Equal for a value's producer and its users, who then share one observer."""
    while _operator(node) in _SAME_SCALE:
        node = _first(node)
    return _UNSIGNED if _operator(node) in _NEVER_NEGATIVE else _SIGNED


def _activation_of(node: Node) -> bool:
    """Whether an activation is all that uses a value."""
    users = list(node.users)
    return len(users) == 1 and _operator(users[0]) in _ACTIVATIONS


def _observed_weights(observed: GraphModule) -> list[Tensor]:
    """Weights with an observer of their own, in the order of the graph, which is that of the frozen parameters."""
    weights = []
    for node in observed.graph.nodes:
        if node.op != "call_module" or not isinstance(observed.get_submodule(node.target), ObserverBase | FakeQuantizeBase):
            continue
        source = node.args[0]
        if isinstance(source, Node) and source.op == "get_attr":
            owner, _, name = str(source.target).rpartition(".")
            weights.append(getattr(observed.get_submodule(owner), name).detach().clone())
    return weights


def _operator(node: object) -> str:
    """``conv2d`` for aten.conv2d.default and aten.conv2d_.default; empty for what is no operator."""
    if not isinstance(node, Node) or node.op != "call_function" or not str(node.target).startswith("aten."):
        return ""
    return str(node.target).split(".")[1].removesuffix("_")


def _first(node: Node) -> Node:
    """The value that an operator works on."""
    first = node.args[0]
    return first if isinstance(first, Node) else node


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype.is_floating_point
