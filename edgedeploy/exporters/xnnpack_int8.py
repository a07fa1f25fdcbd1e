"""Int8 quantization for XNNPACK. Imports torch and executorch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from edgedeploy.exporters.tracing import export_program

_SCALAR_MATH = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)


class FloatOnlyQuantizer(XNNPACKQuantizer):  # type: ignore[misc]  # the SDK has no type hints
    """XNNPACK's quantizer, kept away from integer arithmetic.

    The stock one turns the number in an integer ``x + 0`` (BERT's position ids, for one) into a float tensor; the sum
    becomes float, and the embedding that it indexes fails.
    """

    def __init__(self, *, everything: bool) -> None:
        """Everything in static int8, or else convolutions static, linears dynamic, the rest in float32."""
        super().__init__()
        static = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
        if everything:
            self.set_global(static)
        else:
            dynamic = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
            for operator in LINEAR_TARGETS:
                self.set_operator_type(operator, dynamic)
            for operator in CONV_TARGETS | CONV_TRANSPOSE_TARGETS:
                self.set_operator_type(operator, static)
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


def quantize(
    program: ExportedProgram, inputs: tuple[Tensor, ...], calibration: Sequence[tuple[Tensor, ...]], *, everything: bool
) -> ExportedProgram:
    """The program in int8, with static activation ranges observed on ``calibration``.

    ``everything``: all static. Else convolutions static, linear layers dynamic, the rest in float32.
    """
    with torch.no_grad():
        observed = prepare_pt2e(program.module(), FloatOnlyQuantizer(everything=everything))
        for batch in calibration:
            observed(*batch)
        return export_program(convert_pt2e(observed), inputs)


def _computes_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype.is_floating_point
