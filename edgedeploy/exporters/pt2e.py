"""Quantization of a traced method by a backend's own PT2E quantizer. Imports torch: load it when it is needed."""

from __future__ import annotations

import torch
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import Quantizer

from edgedeploy.exporters.calibration import observe
from edgedeploy.exporters.tracing import Traced


def calibrated(module: GraphModule, quantizer: Quantizer, traced: Traced, *, fold_weights: bool = True) -> GraphModule:
    """``module`` with the arithmetic that ``quantizer`` chose, its ranges observed on the calibration inputs.

    ``fold_weights``: weights are stored as integers; otherwise they stay floats, with a quantizer behind each.
    """
    with torch.no_grad():
        observed = prepare_pt2e(module, quantizer)
        observe(observed, traced.program, traced.calibration)
        converted: GraphModule = convert_pt2e(observed, fold_quantize=fold_weights)
    return converted
