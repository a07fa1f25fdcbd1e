"""Operators that coremltools does not know, written with those it does. Imports torch: load it when it is needed.

Each function has the signature of the ATen operator that it stands for, and computes the same (in real numbers), so that
the rewritten program can be run in PyTorch and compared with the original. One that returns ``NotImplemented`` leaves the
operator as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

aten = torch.ops.aten
# What tells PyTorch to leave an operator alone; its own type would spoil every signature.
_UNCHANGED = cast("Tensor", NotImplemented)
# Larger than this, a one-hot matrix costs more than a scatter that runs on the CPU.
_ONE_HOT_LIMIT = 1 << 20


def _trunc(x: Tensor) -> Tensor:
    return torch.where(x < 0, torch.ceil(x), torch.floor(x))


def _fmod(x: Tensor, y: Tensor | float) -> Tensor:
    """The remainder with the sign of ``x``."""
    size = y.abs() if isinstance(y, Tensor) else abs(y)
    remainder = torch.remainder(x.abs(), size)
    return torch.where(x < 0, -remainder, remainder)


def _divide_rounded(x: Tensor, y: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """Integers stay integers: coremltools' own division makes floats of them, which then index nothing."""
    if rounding_mode != "trunc" or x.dtype.is_floating_point or not isinstance(y, Tensor) or y.dtype.is_floating_point:
        return _UNCHANGED
    quotient = torch.floor_divide(x.abs(), y.abs())
    return torch.where((x < 0) == (y < 0), quotient, -quotient)


def _isinf(x: Tensor) -> Tensor:
    return x.abs() == float("inf")


def _erfc(x: Tensor) -> Tensor:
    return 1 - torch.erf(x)


def _bitwise_or(x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_or(x, y) if x.dtype == y.dtype == torch.bool else _UNCHANGED


def _bitwise_xor(x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_xor(x, y) if x.dtype == y.dtype == torch.bool else _UNCHANGED


def _unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows by gathering: window ``i`` holds the elements ``i * step`` to ``i * step + size``."""
    dimension %= x.ndim
    count = (x.shape[dimension] - size) // step + 1
    index = torch.arange(count)[:, None] * step + torch.arange(size)
    windows = x.index_select(dimension, index.flatten()).reshape(*x.shape[:dimension], count, size, *x.shape[dimension + 1 :])
    return windows.movedim(dimension + 1, -1)


def _as_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    if not x.is_contiguous():
        return _UNCHANGED
    index = torch.full((), storage_offset or 0, dtype=torch.int64)
    for length, step in zip(size, stride, strict=True):
        index = index.unsqueeze(-1) + torch.arange(length) * step
    return x.flatten().index_select(0, index.flatten()).reshape(tuple(size))


def _index_copy(x: Tensor, dimension: int, index: Tensor, source: Tensor) -> Tensor:
    dimension %= x.ndim
    return _index_put(x, [*[None] * dimension, index.reshape(-1)], source)


def _index_fill(x: Tensor, dimension: int, index: Tensor, value: Tensor | float) -> Tensor:
    dimension %= x.ndim
    chosen = (torch.arange(x.shape[dimension])[:, None] == index.reshape(1, -1)).any(1)
    return torch.where(chosen.reshape(-1, *[1] * (x.ndim - dimension - 1)), value, x)


def _index_add(x: Tensor, dimension: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    dimension %= x.ndim
    added = source if alpha == 1 else source * alpha
    put: Tensor = aten.index_put(x, [*[None] * dimension, index.reshape(-1)], added, accumulate=True)
    return put


def _index_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:  # noqa: FBT001, FBT002  ATen's signature
    """Positions amid whole dimensions, as in ``cache[:, :, positions] = new``: coremltools has them only up front."""
    places = [place for place, index in enumerate(indices) if index is not None]
    given = [index for index in indices if index is not None]
    if any(index.dtype == torch.bool for index in given) or places != list(range(places[0], places[0] + len(places))):
        return _UNCHANGED
    first, last = places[0], places[-1] + 1
    together: tuple[Tensor, ...] = aten.broadcast_tensors(list(given))
    shape = (*x.shape[:first], *together[0].shape, *x.shape[last:])
    small = x.shape[first] * together[0].numel() <= _ONE_HOT_LIMIT
    if len(given) == 1 and together[0].ndim == 1 and not accumulate and small and x.dtype.is_floating_point:
        return _placed_by_one_hot(x, first, together[0], values.expand(shape))
    if first == 0:
        return _UNCHANGED
    front = x.permute(*range(first, last), *range(first), *range(last, x.ndim))
    rank = together[0].ndim
    moved = values.expand(shape).permute(*range(first, first + rank), *range(first), *range(first + rank, len(shape)))
    put: Tensor = aten.index_put(front, list(together), moved, accumulate=accumulate)
    count = last - first
    return put.permute(*range(count, last), *range(count), *range(last, x.ndim))


def _placed_by_one_hot(x: Tensor, dimension: int, index: Tensor, source: Tensor) -> Tensor:
    """Rows put in their places by a matrix product, which the Neural Engine has; a scatter it has not."""
    chosen = torch.arange(x.shape[dimension])[:, None] == index.reshape(1, -1)
    hit = chosen.any(1).reshape(-1, *[1] * (x.ndim - dimension - 1))
    rows = source.movedim(dimension, 0)
    flat = rows.reshape(rows.shape[0], -1)
    placed = torch.matmul(chosen.to(x.dtype), flat).reshape(x.shape[dimension], *rows.shape[1:])
    return torch.where(hit, placed.movedim(0, dimension), x)


def _scatter_reduce(
    x: Tensor, dimension: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    source = source[tuple(slice(length) for length in index.shape)]
    if reduce in {"sum", "mean"}:
        kept = x if include_self else x.scatter(dimension, index, torch.zeros_like(source))
        total = kept.scatter_add(dimension, index, source)
        if reduce == "sum":
            return total
        start = torch.ones_like(x) if include_self else torch.zeros_like(x)
        return total / start.scatter_add(dimension, index, torch.ones_like(source)).clamp(min=1)
    if include_self:
        return _UNCHANGED
    neutral = {"prod": 1.0, "amax": float("-inf"), "amin": float("inf")}[reduce]
    cleared = x.scatter(dimension, index, torch.full_like(source, neutral))
    return cleared.scatter_reduce(dimension, index, source, reduce, include_self=True)


def _masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    where, target = mask.expand_as(x), x
    turn = where.flatten().to(torch.int64).cumsum(0) - 1
    taken = source.flatten().index_select(0, turn.clamp(0, source.numel() - 1)).reshape(target.shape)
    return torch.where(where, taken, target)


def _cdist(x: Tensor, y: Tensor, p: float, compute_mode: int | None) -> Tensor:
    del compute_mode  # how PyTorch computes it, not what
    difference = (x.unsqueeze(-2) - y.unsqueeze(-3)).abs()
    if p == float("inf"):
        return difference.amax(-1)
    if p == 1:
        return difference.sum(-1)
    return difference.square().sum(-1).sqrt() if p == 2 else difference.pow(p).sum(-1).pow(1 / p)  # noqa: PLR2004


def _var_mean(
    x: Tensor, dimensions: Sequence[int] | None = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    every = list(range(x.ndim)) if dimensions is None else list(dimensions)
    mean = x.mean(every, keepdim=True)
    count = 1
    for dimension in every:
        count *= x.shape[dimension]
    squares = (x - mean).square().sum(every, keepdim=keepdim)
    return squares / (count - (1 if correction is None else correction)), x.mean(every, keepdim=keepdim)


def _median(x: Tensor, dimension: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:  # noqa: FBT001, FBT002  ATen's signature
    values, indices = x.sort(dimension)
    middle = (x.shape[dimension] - 1) // 2
    found = values.narrow(dimension, middle, 1), indices.narrow(dimension, middle, 1)
    return found if keepdim else (found[0].squeeze(dimension), found[1].squeeze(dimension))


def _bucketize(x: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    below = boundaries <= x.unsqueeze(-1) if right else boundaries < x.unsqueeze(-1)
    return below.to(torch.int32 if out_int32 else torch.int64).sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def _searchsorted(
    boundaries: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    if boundaries.ndim != 1 or sorter is not None:
        return _UNCHANGED
    return _bucketize(x, boundaries, out_int32=out_int32, right=right or side == "right")


def _adaptive_avg_pool3d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    sizes = x.shape[-3:]
    if any(size % wanted for size, wanted in zip(sizes, output_size, strict=True)):
        return _UNCHANGED
    window = [size // wanted for size, wanted in zip(sizes, output_size, strict=True)]
    return torch.nn.functional.avg_pool3d(x, window, window)


def _bilinear(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = torch.einsum("...i,oij,...j->...o", x, weight, y)
    return product if bias is None else product + bias


# ``Any``: torch's table takes functions of every signature.
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten._adaptive_avg_pool3d.default: _adaptive_avg_pool3d,  # noqa: SLF001  an operator's name
    aten._cdist_forward.default: _cdist,  # noqa: SLF001  an operator's name
    aten.as_strided.default: _as_strided,
    aten.bilinear.default: _bilinear,
    aten.bitwise_or.Tensor: _bitwise_or,
    aten.bitwise_xor.Tensor: _bitwise_xor,
    aten.bucketize.Tensor: _bucketize,
    aten.div.Tensor_mode: _divide_rounded,
    aten.erfc.default: _erfc,
    aten.fmod.Scalar: _fmod,
    aten.fmod.Tensor: _fmod,
    aten.index_add.default: _index_add,
    aten.index_copy.default: _index_copy,
    aten.index_fill.int_Scalar: _index_fill,
    aten.index_fill.int_Tensor: _index_fill,
    aten.index_put.default: _index_put,
    aten.isinf.default: _isinf,
    aten.masked_scatter.default: _masked_scatter,
    aten.median.dim: _median,
    aten.scatter_reduce.two: _scatter_reduce,
    aten.searchsorted.Tensor: _searchsorted,
    aten.trunc.default: _trunc,
    aten.unfold.default: _unfold,
    aten.var_mean.correction: _var_mean,
}
