"""Runs a program with observers on its calibration inputs. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule


def observe(observed: GraphModule, program: ExportedProgram, cases: Sequence[tuple[Tensor, ...]]) -> None:
    """Run ``observed``, which was made of ``program``, on ``cases``; what it changed of the model's state is put back.

    The two share buffers with each other and with the user's module, from which the next lane begins.
    """
    with torch.no_grad():
        before = [(buffer, buffer.clone()) for buffer in program.buffers()]
        try:
            for case in cases:
                observed(*case)
        finally:
            for buffer, value in before:
                buffer.copy_(value)
