"""Tensors that an exported module holds. Imports torch: load it when it is needed."""

from __future__ import annotations

from torch import Tensor
from torch.fx import GraphModule


def stored_tensor(module: GraphModule, path: str) -> Tensor:
    """The parameter or buffer that a ``get_attr`` node of ``module`` reads.

    Raises:
        TypeError: there is something else.
    """
    value: object = module
    for step in path.split("."):
        value = getattr(value, step)
    if not isinstance(value, Tensor):
        raise TypeError(f"{path} is no tensor")
    return value.detach()
