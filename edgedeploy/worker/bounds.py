"""Inputs at the bounds of the dimensions that move: an export that is right at the example's sizes may be wrong there.

Imports torch: load it when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgedeploy.exporters.tracing import Traced, range_of

if TYPE_CHECKING:
    from sympy import Expr

Inputs = tuple[Tensor, ...]

# A bound may be 100,000 tokens: what is run has at most so many times the example's elements, or so many at all.
_MOST_TIMES = 64
_MOST_ELEMENTS = 1 << 20


def inputs_at_bounds(traced: Traced) -> tuple[Inputs, ...]:
    """The example inputs cut to the lower bounds of all dimensions that move, and repeated up to the upper ones.

    Values are those of the example, so that ids and masks stay valid. An upper bound that would take too much memory, or
    that is none, is approached. Empty when nothing moves; a case as large as the example is left out.
    """
    shapes = _shapes(traced)
    ranges = {symbol: range_of(symbol, traced.program) for shape in shapes for size in shape for symbol in _symbols(size)}
    if not ranges:
        return ()
    example = {symbol: _hint(traced, shapes, symbol) for symbol in ranges}
    low = {symbol: max(bounds[0], 1) for symbol, bounds in ranges.items()}
    high = {symbol: max(example[symbol], bounds[1] or 2 * example[symbol]) for symbol, bounds in ranges.items()}
    allowed = max(_MOST_ELEMENTS, _MOST_TIMES * _elements(shapes, example))
    while _elements(shapes, high) > allowed:
        high = {symbol: example[symbol] + (value - example[symbol]) // 2 for symbol, value in high.items()}
    return tuple(
        tuple(_resized(tensor, _sized(shape, sizes)) for tensor, shape in zip(traced.example_inputs, shapes, strict=True))
        for sizes in (low, high)
        if sizes != example
    )


def _shapes(traced: Traced) -> list[Sequence[int | Expr]]:
    user_inputs = set(traced.program.graph_signature.user_inputs)
    nodes = [node for node in traced.program.graph.nodes if node.op == "placeholder" and node.name in user_inputs]
    return [[s.node.expr if isinstance(s, torch.SymInt) else s for s in node.meta["val"].shape] for node in nodes]


def _symbols(size: int | Expr) -> set[Expr]:
    return set() if isinstance(size, int) else set(size.free_symbols)


def _hint(traced: Traced, shapes: Sequence[Sequence[int | Expr]], symbol: Expr) -> int:
    """The example's value of a symbol; of one that stands in expressions only, the one that gives the example's size."""
    from sympy import Eq, solve

    for tensor, shape in zip(traced.example_inputs, shapes, strict=True):
        for actual, size in zip(tensor.shape, shape, strict=True):
            if _symbols(size) == {symbol}:
                return int(solve(Eq(size, actual), symbol)[0])
    raise ValueError(f"{symbol} stands in no size by itself")


def _sized(shape: Sequence[int | Expr], sizes: Mapping[Expr, int]) -> list[int]:
    return [size if isinstance(size, int) else int(size.subs(sizes)) for size in shape]


def _elements(shapes: Sequence[Sequence[int | Expr]], sizes: Mapping[Expr, int]) -> int:
    total = 0
    for shape in shapes:
        count = 1
        for size in _sized(shape, sizes):
            count *= size
        total += count
    return total


def _resized(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    for dim, size in enumerate(shape):
        if tensor.shape[dim] != size:
            tensor = tensor.index_select(dim, torch.arange(size) % tensor.shape[dim])
    return tensor.contiguous()
