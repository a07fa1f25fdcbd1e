"""Operators written out with others that LiteRT runs. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch._ops import OpOverload

# A graph of 1,000 nodes and 4,000 edges; beyond, the product costs more than it is worth.
_MOST_CELLS = 1 << 22


def index_add(base: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """``base`` plus each row of ``source`` at the place that ``index`` names, as a product with a matrix of zeros and ones.

    LiteRT 2.3 has no kernel for the scatter that litert-torch makes of it. Messages between the nodes of a graph add up so.
    """
    if base.shape[dim] * index.shape[0] > _MOST_CELLS or not base.dtype.is_floating_point:
        return cast("Tensor", NotImplemented)  # what torch.export takes for: leave it as it is
    places = torch.arange(base.shape[dim], dtype=index.dtype)
    chosen = (places[:, None] == index[None, :]).to(base.dtype)
    rows = source.movedim(dim, 0)
    added = (chosen @ rows.reshape(rows.shape[0], -1)).reshape(base.shape[dim], *rows.shape[1:]).movedim(0, dim)
    return base + (added if alpha == 1 else added * alpha)


DECOMPOSITIONS: dict[OpOverload, Callable[..., Tensor]] = {torch.ops.aten.index_add.default: index_add}
