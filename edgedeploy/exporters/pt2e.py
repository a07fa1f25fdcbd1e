"""Quantization of a traced method by a backend's own PT2E quantizer. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import Quantizer


def calibrated(
    module: GraphModule, quantizer: Quantizer, calibration: Sequence[tuple[Tensor, ...]], *, fold_weights: bool = True
) -> GraphModule:
    """``module`` with the arithmetic that ``quantizer`` chose, its ranges observed on the calibration inputs.

    ``fold_weights``: weights are stored as integers; otherwise they stay floats, with a quantizer behind each.
    """
    with torch.no_grad():
        observed = prepare_pt2e(module, quantizer)
        for batch in calibration:
            observed(*batch)
        converted: GraphModule = convert_pt2e(observed, fold_quantize=fold_weights)
    return converted
