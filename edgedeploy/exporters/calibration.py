"""Runs a program with observers on its calibration inputs. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule


@contextmanager
def state_put_back(program: ExportedProgram) -> Iterator[None]:
    """Whatever the block changes of the state of ``program``'s model is put back at its end."""
    before = [(buffer, buffer.clone()) for buffer in program.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def observe(observed: GraphModule, program: ExportedProgram, cases: Sequence[tuple[Tensor, ...]]) -> None:
    """Run ``observed``, which was made of ``program``, on ``cases``; what it changed of the model's state is put back.

    The two share buffers with each other and with the user's module, from which the next lane begins.
    """
    with torch.no_grad(), state_put_back(program):
        for case in cases:
            observed(*case)
