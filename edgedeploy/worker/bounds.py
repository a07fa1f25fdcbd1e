"""Inputs at the bounds of the dimensions that move: an export that is right at the example's sizes may be wrong there.

Imports torch: load it when it is needed.
"""

from __future__ import annotations

from edgedeploy.exporters.moving_sizes import Inputs, moving_sizes, resized_inputs
from edgedeploy.exporters.tracing import Traced


def inputs_at_bounds(traced: Traced) -> tuple[Inputs, ...]:
    """The example inputs cut to the lower bounds of all dimensions that move, and repeated up to the upper ones.

    Values are those of the example, so that ids and masks stay valid. An upper bound that would take too much memory, or
    that is none, is approached. Empty when nothing moves; a case as large as the example is left out.
    """
    moving = moving_sizes(traced)
    if moving is None:
        return ()
    bounds = (moving.lowest, moving.highest)
    return tuple(resized_inputs(traced, moving, sizes) for sizes in bounds if sizes != moving.example)
