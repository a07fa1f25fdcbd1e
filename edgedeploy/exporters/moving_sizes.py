"""The sizes of a trace's inputs that move, and inputs of other sizes. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class MovingSizes:
    """What moves: every input's shape in symbols, and of each symbol the example's value, the lower and the upper one.

    ``highest`` is the upper bound where there is one that memory allows; ``bounded`` says whether it is that for all.
    """

    shapes: tuple[tuple[int | Expr, ...], ...]
    example: Mapping[Expr, int]
    lowest: Mapping[Expr, int]
    highest: Mapping[Expr, int]
    bounded: bool


def moving_sizes(traced: Traced) -> MovingSizes | None:
    """The sizes that move; None when none does."""
    shapes = _shapes(traced)
    ranges = {symbol: range_of(symbol, traced.program) for shape in shapes for size in shape for symbol in _symbols(size)}
    if not ranges:
        return None
    example = {symbol: _hint(traced, shapes, symbol) for symbol in ranges}
    high = {symbol: max(example[symbol], bounds[1] or 2 * example[symbol]) for symbol, bounds in ranges.items()}
    allowed = max(_MOST_ELEMENTS, _MOST_TIMES * _elements(shapes, example))
    while _elements(shapes, high) > allowed:
        high = {symbol: example[symbol] + (value - example[symbol]) // 2 for symbol, value in high.items()}
    return MovingSizes(
        shapes=shapes,
        example=example,
        lowest={symbol: max(bounds[0], 1) for symbol, bounds in ranges.items()},
        highest=high,
        bounded=all(bounds[1] == high[symbol] for symbol, bounds in ranges.items()),
    )


def resized_inputs(traced: Traced, moving: MovingSizes, sizes: Mapping[Expr, int]) -> Inputs:
    """The example inputs cut, or repeated, to other sizes. Values are the example's, so that ids and masks stay valid."""
    return tuple(
        _resized(tensor, _sized(shape, sizes)) for tensor, shape in zip(traced.example_inputs, moving.shapes, strict=True)
    )


def _shapes(traced: Traced) -> tuple[tuple[int | Expr, ...], ...]:
    user_inputs = set(traced.program.graph_signature.user_inputs)
    nodes = [node for node in traced.program.graph.nodes if node.op == "placeholder" and node.name in user_inputs]
    return tuple(tuple(s.node.expr if isinstance(s, torch.SymInt) else s for s in node.meta["val"].shape) for node in nodes)


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


def two_sizes(moving: MovingSizes) -> tuple[dict[Expr, int], dict[Expr, int]]:
    """Two values of each symbol: the example's or a smaller one, and the highest. Neither is 1, which converters treat apart.

    Symbols differ in the ratio and in the difference of their values, so that what is derived from them tells them apart.
    """
    first: dict[Expr, int] = {}
    second: dict[Expr, int] = {}
    taken: set[float] = set()
    for symbol, example in moving.example.items():
        high = max(moving.highest[symbol], 3)  # one more than the bound where that leaves no room
        low = min(max(moving.lowest[symbol], 2), high - 1)
        sizes = [size for size in (example, *range(example - 1, low - 1, -1), *range(example + 1, high)) if low <= size < high]
        apart = (size for size in sizes if not taken & {high / size, high - size})
        first[symbol], second[symbol] = next(apart, sizes[0]), high
        taken |= {high / first[symbol], high - first[symbol]}
    return first, second
