"""Small weights with float arithmetic for XNNPACK's linear layers. Imports the SDK: load it when it is needed.

XNNPACK has the kernels (fp32 activations by int8 or int4 weights, one scale per output channel); ExecuTorch's partitioner
never chooses them: it leaves such a layer to its plain kernels, forty times slower. And torchao's own weight-only tensors
come out of ExecuTorch 1.5 without an error and with nonsense in them.
"""

from __future__ import annotations

from typing import cast

import torch
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
from executorch.backends.xnnpack.partition.config.gemm_configs import GEMMConfig, LinearConfig
from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType, XNNPartitionerConfig
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import get_symmetric_quantization_config
from executorch.backends.xnnpack.utils.quant_utils import is_dequant
from executorch.backends.xnnpack.utils.utils import get_input_node
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, Quantizer
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from edgedeploy.errors import ExportError
from edgedeploy.exporters.calibration import observe
from edgedeploy.exporters.embeddings import quantize_embeddings
from edgedeploy.exporters.linear_layers import as_linear
from edgedeploy.exporters.state import module_to_quantize
from edgedeploy.exporters.tracing import Traced, export_program

_LINEAR = torch.ops.aten.linear.default
_RANGES = {8: (-127, 127), 4: (-8, 7)}  # of a weight; the first is how XNNPACK wants symmetric int8


def with_small_weights(traced: Traced, bits: int) -> ExportedProgram:
    """The method with the weights of its linear layers in ``bits`` bits per channel, and its embeddings in int8.

    Raises:
        ExportError: it has neither: convolutions stay in float32 here, and nothing would be won.
    """
    module = module_to_quantize(traced.program)
    as_linear(module)
    quantized = quantize_embeddings(module) + _part_biases(module)
    if not quantized:
        raise ExportError(
            f"int{bits} weights would change nothing: the model has no linear layer and no embedding",
            where=traced.name,
            seen="XNNPACK has no kernels for convolutions with small weights and float activations",
            next_step="take precision int8 or fp16",
        )
    with torch.no_grad():
        observed = prepare_pt2e(module, _WeightOnlyQuantizer(bits))
        observe(observed, traced.program, [traced.example_inputs])
        return export_program(convert_pt2e(observed), traced.example_inputs, traced.shapes_one_by_one)


def weight_only_configs() -> list[type[XNNPartitionerConfig]]:
    """What XNNPACK's partitioner takes, with linear layers of small weights among it."""
    return [_WeightOnlyLinear if config is LinearConfig else config for config in ALL_PARTITIONER_CONFIGS]


class _WeightOnlyLinear(LinearConfig):  # type: ignore[misc]  # the SDK has no type hints
    """A linear layer whose weight comes out of a dequantization and whose input does not counts as one in float32."""

    def _detect_precision(self, node: Node) -> ConfigPrecisionType:
        precision = super()._detect_precision(node)
        float_input = not is_dequant(get_input_node(node, self.act_idx))
        return ConfigPrecisionType.FP32 if precision is ConfigPrecisionType.STATIC_QUANT and float_input else precision

    def _get_weight_deps(self, node: Node, ep: ExportedProgram, precision: ConfigPrecisionType) -> tuple[bool, list[Node]]:
        if precision is ConfigPrecisionType.FP32 and is_dequant(get_input_node(node, self.weight_idx)):
            found = GEMMConfig._get_weight_deps(self, node, ep, ConfigPrecisionType.STATIC_QUANT)  # noqa: SLF001 - the SDK's own way
        else:
            found = super()._get_weight_deps(node, ep, precision)
        return cast("tuple[bool, list[Node]]", found)


class _WeightOnlyQuantizer(Quantizer):  # type: ignore[misc]  # the SDK has no type hints
    """Marks the weights of linear layers, and nothing else."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        low, high = _RANGES[bits]
        config = get_symmetric_quantization_config(is_per_channel=True, weight_qmin=low, weight_qmax=high)
        self._weight = config.weight

    def annotate(self, model: GraphModule) -> GraphModule:
        for node in model.graph.nodes:
            if node.target is _LINEAR:
                annotation = QuantizationAnnotation(input_qspec_map={node.args[1]: self._weight}, _annotated=True)
                node.meta[Q_ANNOTATION_KEY] = annotation
        return model

    def validate(self, model: GraphModule) -> None:
        """There is nothing that could be wrong."""


def _part_biases(module: GraphModule) -> int:
    """Turn ``linear(x, w, b)`` into ``linear(x, w) + b``; returns how many linear layers there are.

    XNNPACK multiplies the bias of such a layer by the weights' scales, too.
    """
    graph = module.graph
    layers = [node for node in graph.nodes if node.target is _LINEAR]
    for node in layers:
        if len(node.args) < 3 or node.args[2] is None:  # noqa: PLR2004 - input, weight, bias
            continue
        with graph.inserting_after(node):
            added = graph.call_function(torch.ops.aten.add.Tensor, (node, node.args[2]))
        added.meta = dict(node.meta)
        node.replace_all_uses_with(added, delete_user_cb=lambda user, added=added: user is not added)
        node.args = node.args[:2]
    module.recompile()
    return len(layers)
