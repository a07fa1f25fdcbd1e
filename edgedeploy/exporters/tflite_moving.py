"""A model whose sizes move, converted at two sizes each. Imports litert-torch: load it when it is needed.

litert-torch lowers most operators through JAX, whose shapes are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgedeploy.errors import ExportError
from edgedeploy.exporters import tflite_conversion
from edgedeploy.exporters.diagnosis import innermost_line
from edgedeploy.exporters.moving_sizes import MovingSizes, moving_sizes, resized_inputs, two_sizes
from edgedeploy.exporters.tflite_conversion import Converted
from edgedeploy.exporters.tflite_operators import origin_of_tensor
from edgedeploy.exporters.tflite_two_sizes import FixedSizeError, with_open_sizes
from edgedeploy.exporters.tracing import Traced, export_program

if TYPE_CHECKING:
    from sympy import Expr


def convert(methods: Sequence[Traced], signatures: Sequence[str], *, spare_bool_indexing: bool, user_root: str) -> Converted:
    """As :func:`tflite_conversion.convert`, with the sizes that move left open in the file.

    Raises:
        ExportError: a method changes its own buffers; a size that is to move cannot.
    """
    moving = [moving_sizes(method) for method in methods]
    if all(one is None for one in moving):
        return tflite_conversion.convert(methods, signatures, spare_bool_indexing=spare_bool_indexing)
    sizes = [two_sizes(one) if one is not None else ({}, {}) for one in moving]
    first, second = (
        tflite_conversion.convert(
            [_fixed(method, one, pair[number]) for method, one, pair in zip(methods, moving, sizes, strict=True)],
            signatures,
            spare_bool_indexing=spare_bool_indexing,
        )
        for number in (0, 1)
    )
    bounded = all(one is None or one.bounded for one in moving)
    try:
        content = with_open_sizes(first.content, second.content, bounded=bounded)
    except FixedSizeError as error:
        origin = origin_of_tensor(error.tensor, first.origins)
        line = innermost_line(origin.stack_trace, user_root) if origin and origin.stack_trace else None
        raise ExportError(
            "a size that is to move is fixed in TFLite",
            where=str(line or error.tensor),
            seen=str(error),
            next_step=("" if bounded else "give each torch.export.Dim a max that memory allows; ")
            + "write the line so that it does not need the size; leave the size out of dynamic_shapes for TFLite; or give each "
            "shape a method of its own",
        ) from error
    return Converted(content, first.origins)


def _fixed(method: Traced, moving: MovingSizes | None, sizes: Mapping[Expr, int]) -> Traced:
    """The method traced anew at these sizes, which then do not move."""
    if moving is None:
        return method
    inputs = resized_inputs(method, moving, sizes)
    return replace(method, program=export_program(method.module, inputs), example_inputs=inputs, dynamic_shapes=None)
