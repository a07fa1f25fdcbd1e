"""A model whose sizes only its data decide."""

from __future__ import annotations

from torch import Tensor, nn


class Chosen(nn.Module):
    """How many rows there are after the choice is known when the model runs, and no sooner."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x[(x[:, 0] > 0).nonzero().flatten()]).sum(0)
