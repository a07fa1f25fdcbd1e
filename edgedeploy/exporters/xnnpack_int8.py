"""Int8 weights and activations for XNNPACK, by PT2E. Imports torch and executorch: load it when it is needed."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from executorch.backends.transforms.duplicate_dynamic_quant_chain import DuplicateDynamicQuantChainPass
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    CONV_TARGETS,
    CONV_TRANSPOSE_TARGETS,
    LINEAR_TARGETS,
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from edgedeploy.errors import ExportError
from edgedeploy.exporters.embeddings import quantize_embeddings
from edgedeploy.exporters.linear_layers import as_linear
from edgedeploy.exporters.pt2e import calibrated
from edgedeploy.exporters.state import module_to_quantize
from edgedeploy.exporters.tracing import Traced, export_program

Scheme = Literal["static", "dynamic", "mixed"]
"""All activations calibrated; ranges chosen at run time; or convolutions static, linear layers dynamic, the rest float32."""

_SCALAR_MATH = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)


class FloatOnlyQuantizer(XNNPACKQuantizer):  # type: ignore[misc]  # the SDK has no type hints
    """XNNPACK's quantizer with weights per channel, kept away from integer arithmetic.

    The stock one turns the number in an integer ``x + 0`` (BERT's position ids, for one) into a float tensor; the sum
    becomes float, and the embedding that it indexes fails.
    """

    # Convolutions with a BatchNorm behind them are there in training only: prepare_pt2e has folded it before it annotates.
    # To look for them takes seconds, because each pattern is traced anew for each operator.
    SUPPORTED_PATTERNS: ClassVar = [pattern for pattern in XNNPACKQuantizer.SUPPORTED_PATTERNS if not pattern.is_qat]

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        static = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
        dynamic = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
        if scheme == "mixed":
            for operator in LINEAR_TARGETS:
                self.set_operator_type(operator, dynamic)
            for operator in CONV_TARGETS | CONV_TRANSPOSE_TARGETS:
                self.set_operator_type(operator, static)
        else:
            self.set_global(static if scheme == "static" else dynamic)
        self.set_filter_function(_computes_float)

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Turn numbers into tensors, as XNNPACK needs them, in float arithmetic only."""
        hidden = {node: node.target for node in model.graph.nodes if node.target in _SCALAR_MATH and not _computes_float(node)}
        # The parent looks for two targets; behind another one, a node passes it by unseen.
        for node in hidden:
            node.target = torch.ops.aten.sub.Tensor
        model = super().transform_for_annotation(model)
        for node, target in hidden.items():
            node.target = target
        model.recompile()
        return model


def in_int8(traced: Traced, scheme: Scheme) -> ExportedProgram:
    """The method in int8, with static activation ranges observed on its calibration inputs; embeddings too.

    Raises:
        ExportError: nothing in it can be.
    """
    module = module_to_quantize(traced.program)
    as_linear(module)
    quantize_embeddings(module)
    converted = calibrated(module, FloatOnlyQuantizer(scheme), traced)
    if not any(str(node.target).startswith("quantized_decomposed.") for node in converted.graph.nodes):
        raise ExportError(
            "int8 would change nothing: XNNPACK's quantizer finds no layer that it could be",
            where=traced.name,
            seen="activation ranges chosen at run time; it has those for linear layers and some convolutions"
            if scheme == "dynamic"
            else "no layer with weights, and no sum",
            next_step="take precision int8, or fp32"
            if scheme == "dynamic"
            else "take precision fp32: the file would be the same",
        )
    DuplicateDynamicQuantChainPass()(converted)  # layers that share an input may be parted by what is outside XNNPACK
    _part_dequantizers(converted)
    return export_program(converted, traced.example_inputs, traced.shapes_one_by_one)


def _part_dequantizers(module: GraphModule) -> None:
    """Give every reader of a static int8 value a dequantizer of its own.

    Where one serves a reader inside XNNPACK and one outside (an output of the model, or another operator), ExecuTorch 1.5.1
    changes the order of dimensions for both: the lowering stops, or the program fails when it runs.
    """
    for node in list(module.graph.nodes):
        if node.target == torch.ops.quantized_decomposed.dequantize_per_tensor.default:
            for user in list(node.users)[1:]:
                with module.graph.inserting_after(node):
                    user.replace_input_with(node, module.graph.node_copy(node))
    module.recompile()


def _computes_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype.is_floating_point
