"""A traced method as a Core ML program. Imports torch and coremltools: load it when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import coremltools as ct
import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml_graph import prepared, require_known_operators
from edgedeploy.exporters.coreml_precisions import Deployment, require_states
from edgedeploy.exporters.tracing import Traced

if TYPE_CHECKING:
    from coremltools.models import MLModel

# The types that Core ML has for inputs and outputs; PyTorch's others become the nearest of them.
_IO_DTYPES = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float32,
    "int64": np.int32,
    "int32": np.int32,
    "int16": np.int32,
    "int8": np.int32,
    "uint8": np.int32,
    "bool": np.int32,
}
_HALF_IO_FIRST_IOS = 16


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A method as coremltools made it, and the ATen program that it was given."""

    traced: Traced
    program: ExportedProgram
    model: MLModel


def convert(traced: Traced, program: ExportedProgram, *, system: Deployment, half_precision: bool, user_root: str) -> Converted:
    """Convert ``program``, which computes what ``traced`` does; inputs and outputs keep their float types.

    Raises:
        ExportError: operators coremltools does not know, states or shapes that Core ML does not have.
    """
    rewritten = prepared(program)
    _require_states(rewritten, system)
    require_known_operators(rewritten, traced.program, user_root)
    dtypes = _IO_DTYPES | ({"float16": np.float32} if system.ios < _HALF_IO_FIRST_IOS else {})
    shapes = _input_shapes(rewritten)
    model = ct.convert(
        rewritten,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target[system.target_name],
        compute_precision=ct.precision.FLOAT16 if half_precision else ct.precision.FLOAT32,
        inputs=[
            ct.TensorType(name=spec.name, shape=shape, dtype=dtypes[spec.dtype])
            for spec, shape in zip(traced.inputs, shapes, strict=True)
        ],
        # Without a dtype, an output would come out in the precision of the computation.
        outputs=[ct.TensorType(name=spec.name, dtype=dtypes[spec.dtype]) for spec in traced.outputs],
        skip_model_load=True,
    )
    return Converted(traced=traced, program=rewritten, model=model)


def _input_shapes(program: ExportedProgram) -> list[tuple[object, ...]]:
    """The inputs' shapes with a range for every dimension that moves; dimensions that move together share one."""
    ranges: dict[str, ct.RangeDim] = {}
    user_inputs = set(program.graph_signature.user_inputs)
    shapes = []
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in user_inputs:
            continue
        sizes: list[object] = list(node.meta["val"].shape)
        # Core ML has no inputs without dimensions.
        shapes.append(tuple(_dimension(size, program, ranges, node.name) for size in sizes) or (1,))
    return shapes


def _dimension(size: object, program: ExportedProgram, ranges: dict[str, ct.RangeDim], name: str) -> object:
    if not isinstance(size, torch.SymInt):
        return size
    symbol = size.node.expr
    bounds = program.range_constraints.get(symbol)
    if bounds is None or not symbol.is_Symbol:
        raise ExportError(
            "Core ML has no dimension that is computed from another",
            where=f"input {name!r}",
            seen=str(symbol),
            next_step="give the dimension a torch.export.Dim of its own in dynamic_shapes, or fix its size",
        )
    if bool(bounds.upper >= np.iinfo(np.int32).max):
        raise ExportError(
            "Core ML programs need an upper bound for a dimension that moves",
            where=f"input {name!r}",
            seen=f"{bounds.lower} and more",
            next_step="give it in dynamic_shapes: torch.export.Dim('length', min=1, max=512)",
        )
    key = str(symbol)
    if key not in ranges:
        low = max(int(bounds.lower), 1)
        ranges[key] = ct.RangeDim(lower_bound=low, upper_bound=int(bounds.upper), default=int(size.node.hint))
    return ranges[key]


def _require_states(program: ExportedProgram, system: Deployment) -> None:
    """Refuse buffers that a Core ML state cannot stand for: it is float16 and begins as zeros."""
    changed = set(program.graph_signature.buffers_to_mutate.values())
    if not changed:
        return
    require_states(system)
    constants = dict(program.named_buffers())
    for name in sorted(changed):
        buffer: Tensor = constants[name]
        shown = name.removeprefix("inner.")
        if not buffer.dtype.is_floating_point:
            raise ExportError(
                f"Core ML states are float16, and buffer {shown!r} is {str(buffer.dtype).removeprefix('torch.')}",
                where=shown,
                next_step="keep it in a float buffer, or pass it in and out as an input and an output",
            )
        if bool((buffer != 0).any()):
            raise ExportError(
                f"Core ML states begin as zeros, and buffer {shown!r} does not",
                where=shown,
                seen=f"values from {float(buffer.min()):.4g} to {float(buffer.max()):.4g}",
                next_step="store the difference from its first value, or pass it in and out as an input and an output",
            )
