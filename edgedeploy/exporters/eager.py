"""Runs a model as PyTorch runs it, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgedeploy.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn


def run_eagerly(module: nn.Module, cases: Sequence[tuple[Tensor, ...]]) -> list[object]:
    """Outputs of ``module`` for each case, in sequence from the state it is in now; its buffers are put back afterwards.

    A runner does the same: a fresh load, then one case after the other. Inputs are cloned first.

    Raises:
        ModelError: forward changes one of its inputs in place.
    """
    import torch

    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    outputs = []
    try:
        with torch.no_grad():
            for case in cases:
                given = tuple(tensor.clone() for tensor in case)
                output = module(*given)
                _expect_untouched(given, case)
                outputs.append(torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, output))  # noqa: SLF001
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                if name in before and buffer.shape == before[name].shape:
                    buffer.copy_(before[name])
    return outputs


def _expect_untouched(given: tuple[Tensor, ...], case: tuple[Tensor, ...]) -> None:
    for index, (used, original) in enumerate(zip(given, case, strict=True)):
        same = (used == original) | (used.isnan() & original.isnan())
        if not bool(same.all()):
            raise ModelError(
                f"forward changes its input {index} in place",
                next_step="clone it first (x = x.clone()): an exported program has no way to give the change back",
            )
