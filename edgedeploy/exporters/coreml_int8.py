"""Int8 weights and activations for Core ML. Imports torch and executorch: load it when it is needed.

coremltools' own calibration runs the model by Core ML, on a Mac only. ExecuTorch's quantizer for Core ML observes it in
PyTorch, anywhere, and coremltools reads what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from coremltools.optimize.torch.quantization.quantization_config import (
    LinearQuantizerConfig,
    ModuleLinearQuantizerConfig,
    ObserverType,
    QuantizationScheme,
)
from executorch.backends.apple.coreml.quantizer import CoreMLQuantizer
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import FakeQuantizeBase
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from edgedeploy.errors import ExportError
from edgedeploy.exporters.tracing import Traced, export_program

# The observers' default, a moving average, would take the first few batches for the whole range.
_CONFIG = ModuleLinearQuantizerConfig(
    quantization_scheme=QuantizationScheme.symmetric,
    activation_observer=ObserverType.min_max,
    weight_observer=ObserverType.min_max,
)


class FloatOnlyQuantizer(CoreMLQuantizer):  # type: ignore[misc]  # the SDK has no type hints
    """ExecuTorch's quantizer, kept away from integer arithmetic (BERT's ``positions + 0``), whose sums index embeddings."""

    def annotate(self, model: GraphModule) -> GraphModule:
        """Annotate what computes floats."""
        super().annotate(model)
        for node in model.graph.nodes:
            if Q_ANNOTATION_KEY in node.meta and not _is_float(node):
                del node.meta[Q_ANNOTATION_KEY]
        return model


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
    with torch.no_grad():
        observed = prepare_pt2e(traced.program.module(), FloatOnlyQuantizer(LinearQuantizerConfig(global_config=_CONFIG)))
        for batch in traced.calibration:
            observed(*batch)
        weights = tuple(_observed_weights(observed))
        program = export_program(convert_pt2e(observed), traced.example_inputs, traced.dynamic_shapes)
    return Quantized(program=program, weights=weights)


def _require_calibration(calibration: Sequence[tuple[Tensor, ...]]) -> None:
    if not calibration:
        raise ExportError(
            "int8 activations need calibration inputs, and there are none",
            where="calibration",
            next_step="give ModelSource(calibration=…) ten to a few hundred real inputs, or choose int8-weights",
        )


def _observed_weights(observed: GraphModule) -> list[Tensor]:
    """Weights with an observer of their own, in the order of the graph, which is that of the frozen parameters."""
    weights = []
    for node in observed.graph.nodes:
        if node.op != "call_module" or not isinstance(observed.get_submodule(node.target), FakeQuantizeBase):
            continue
        source = node.args[0]
        if isinstance(source, Node) and source.op == "get_attr":
            owner, _, name = str(source.target).rpartition(".")
            weights.append(getattr(observed.get_submodule(owner), name).detach().clone())
    return weights


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype.is_floating_point
