"""Channels-last inputs of layers whose activation ranges are chosen at run time. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from executorch.backends.xnnpack import _passes
from executorch.backends.xnnpack._passes.channels_last_tagged_reshape_pass import ChannelsLastTaggedReshapePass
from executorch.backends.xnnpack.utils.quant_utils import is_dequant, is_dynamic_qdq
from torch.fx import GraphModule, Node


class NearestLayoutPass(ChannelsLastTaggedReshapePass):  # type: ignore[misc]  # the SDK has no type hints
    """ExecuTorch's pass with the conversion to channels-last right before the quantizer of such an input.

    ExecuTorch 1.5.1 follows the input back to the start of the delegate's graph and converts there: a padding or a
    pixel-unshuffle in between then gets dimensions in another order, and the program fails when it runs.
    """

    def input_to_nhwc(self, graph_module: GraphModule, input_node: Node, target_node: Node) -> None:
        """Make an input of ``target_node`` channels-last."""
        if not (is_dequant(input_node) and is_dynamic_qdq(input_node)):
            super().input_to_nhwc(graph_module, input_node, target_node)
            return
        quantize = input_node.all_input_nodes[0]
        source, scale, _zero_point = quantize.all_input_nodes
        super().input_to_nhwc(graph_module, source, quantize)
        choice = scale.all_input_nodes[0]  # of ranges, for what is quantized
        choice.replace_input_with(source, quantize.all_input_nodes[0])


def install() -> None:
    """Let ExecuTorch's XNNPACK lowering take this pass in place of its own, for good."""
    _passes.ChannelsLastTaggedReshapePass = NearestLayoutPass
