"""4-bit weights in groups with dynamic int8 activations ("8da4w") for XNNPACK. Imports the SDK: load it when needed."""

from __future__ import annotations

import copy
from typing import TypeGuard

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
from torchao.quantization.granularity import PerAxis, PerGroup

from edgedeploy.errors import ExportError
from edgedeploy.exporters.embeddings import quantize_embeddings
from edgedeploy.exporters.tracing import Traced, export_program

GROUP_SIZE = 32


def in_groups(traced: Traced) -> ExportedProgram:
    """The method with its linear layers in 4 bits; those whose width is no multiple of 32 in 8, embeddings too.

    Raises:
        ExportError: there is no linear layer that could be: convolutions stay in float32 here.
    """
    module = copy.deepcopy(traced.module)
    if not any(map(_in_four_bits, module.modules())):
        raise ExportError(
            f"8da4w would change nothing: no linear layer has a width that is a multiple of {GROUP_SIZE}",
            where=traced.name,
            seen="XNNPACK has 4-bit weights for linear layers only",
            next_step="take precision int8",
        )
    quantize_(module, _dynamic(torch.int4, PerGroup(GROUP_SIZE)), lambda layer, _name: _in_four_bits(layer))  # type: ignore[attr-defined]  # torch has it
    quantize_(module, _dynamic(torch.int8, PerAxis(0)), lambda layer, _name: _in_eight_bits(layer))
    program = export_program(module, traced.example_inputs, traced.dynamic_shapes)
    graph_module = program.module()
    if not quantize_embeddings(graph_module):
        return program
    return export_program(graph_module, traced.example_inputs, traced.shapes_one_by_one)


def _dynamic(weight_dtype: torch.dtype, granularity: PerGroup | PerAxis) -> Int8DynamicActivationIntxWeightConfig:
    return Int8DynamicActivationIntxWeightConfig(weight_dtype=weight_dtype, weight_granularity=granularity)


def _in_four_bits(layer: nn.Module) -> bool:
    return _is_linear(layer) and layer.in_features % GROUP_SIZE == 0


def _in_eight_bits(layer: nn.Module) -> bool:
    return _is_linear(layer) and layer.in_features % GROUP_SIZE != 0


def _is_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a layer is called as one. Attention reads the weight of its last projection, and multiplies by itself."""
    return isinstance(layer, nn.Linear) and not isinstance(layer, NonDynamicallyQuantizableLinear)
