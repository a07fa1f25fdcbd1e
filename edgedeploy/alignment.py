"""Two lists of the same operators in other words, laid side by side."""

from __future__ import annotations

import functools
import heapq
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

Likeness = Literal[0, 1, 2]
"""Cannot be the same; can be, where nothing fits better; is the same kind of operator."""
_SAME: Likeness = 2

# What XNNPACK calls the operators it runs (names up to the bracket, as 1.5.1 of ExecuTorch and 2.3.0 of LiteRT print them),
# by what its graph and TFLite call them, where that is another word. A 1×1 convolution is run as a matrix product.
_RUNS_AS: dict[str, tuple[str, ...]] = {
    "conv2d": ("convolution", "fullyconnected"),
    "depthwiseconv2d": ("convolution",),
    "convtranspose2d": ("deconvolution",),
    "transposeconv": ("deconvolution",),
    "fullyconnected": ("dynamicfullyconnected",),
    "batchmatmul": ("batchmatrixmultiply",),
    "mul": ("multiply",),
    "sub": ("subtract",),
    "div": ("divide",),
    "neg": ("negate",),
    "ceil": ("ceiling",),
    "round": ("bankdersrounding",),
    "sqrt": ("squareroot",),
    "rsqrt": ("reciprocalsquareroot",),
    "sin": ("sine",),
    "cos": ("cosine",),
    "pow": ("power",),
    "logistic": ("sigmoid",),
    "gelu": ("approxgelu",),
    "relu": ("clamp",),
    "relu6": ("clamp",),
    "relun1to1": ("clamp",),
    "relu0to1": ("clamp",),
    "reshape": ("copy", "fusedims", "splitdims", "expanddims"),
    "squeeze": ("reshape", "copy", "fusedims"),
    "expanddims": ("reshape", "copy", "splitdims"),
    "transpose": ("copy",),
    "globalavgpooling2d": ("mean", "averagepooling", "sum"),
    "avgpooling2d": ("averagepooling", "mean"),
    "averagepool2d": ("averagepooling", "mean"),
    "maxpooling2d": ("maxpooling",),
    "maxpool2d": ("maxpooling",),
    "argmaxpooling2d": ("argmaxpooling",),
    "resizebilinear2d": ("resizebilinear",),
    "pad": ("constantpad",),
    "padv2": ("constantpad",),
    "stridedslice": ("slice",),
    "split": ("slice", "copy"),
    "concatenation": ("copy", "concatenate"),
    **{f"concatenate{count}": ("copy", "concatenate") for count in range(2, 6)},
    "quantize": ("convert",),
    "dequantize": ("convert",),
    "cast": ("convert",),
}
# Where nothing fits better: which product it is depends on what XNNPACK knows of the second factor.
_CAN_RUN_AS: dict[str, tuple[str, ...]] = {
    "fullyconnected": ("batchmatrixmultiply",),
    "batchmatmul": ("fullyconnected", "dynamicfullyconnected"),
    "batchmatrixmultiply": ("fullyconnected", "dynamicfullyconnected"),
}
# One node of these is several operators, one per part.
_IN_PARTS = ("concat", "split")
# An int8 operator of one input, with the conversions around it, becomes a table that XNNPACK has no name for.
_TABLE = ("invalidunaryop", "unaryelementwise")
_UNARY = {
    *("abs", "clamp", "cos", "elu", "exp", "gelu", "hardswish", "leakyrelu", "log", "logistic", "neg", "negate", "relu"),
    *("relu6", "reciprocalsquareroot", "rsqrt", "sigmoid", "sin", "square", "squareroot", "sqrt", "tanh"),
}
_CONVERSIONS = {"convert", "quantize", "dequantize", "cast"}
# What delegates add of their own.
_ADDED = {"reshape", "expanddims", "fusedims", "splitdims", "copy", "transpose", "convert"}


@functools.lru_cache(maxsize=4096)
def likeness(node: str, ran: str) -> Likeness:
    """Whether ``ran``, as XNNPACK names it, can be ``node`` of its own graph (``XNNConv2d``) or of TFLite's (``CONV_2D``)."""
    kind, name = _plain(node.removeprefix("XNN")), _name(ran)
    if kind == name or name in _RUNS_AS.get(kind, ()):
        return _SAME
    if name in _TABLE:
        return _SAME if kind in _UNARY else 1 if kind in _CONVERSIONS else 0
    return 1 if name in _CAN_RUN_AS.get(kind, ()) else 0


def aligned(nodes: Sequence[str], ran: Sequence[str]) -> dict[int, int]:
    """For every operator that ran, the node it was: place in ``ran`` → place in ``nodes``.

    Both lists are in the same order. Nodes that were fused into others have nothing that ran for them; what an engine
    added belongs to no node and is left out. The path with the fewest left-overs is found (as a diff of texts is); cost
    grows with the number of left-overs, not with the square of the length.
    """
    kinds, names = set(nodes), {_name(name) for name in ran}
    had = {kind for kind in kinds if any(likeness(kind, name) for name in names)}
    were = {name for name in names if any(likeness(kind, name) for kind in kinds)}
    matches = _among(nodes, ran, [i for i, kind in enumerate(nodes) if kind in had], range(len(ran)), were)
    # TFLite takes the operators of a delegate's call together as soon as they can run: some run before their turn.
    taken = set(matches.values())
    nodes_left = [i for i, kind in enumerate(nodes) if kind in had and i not in taken]
    return matches | _among(nodes, ran, nodes_left, [j for j in range(len(ran)) if j not in matches], were - _ADDED)


def _among(
    nodes: Sequence[str], ran: Sequence[str], from_nodes: Sequence[int], from_ran: Iterable[int], names: Collection[str]
) -> dict[int, int]:
    """``_aligned`` for some of the nodes and for operators of some names, in the places of the whole lists."""
    named = [j for j in from_ran if _name(ran[j]) in names]
    matches = _aligned([nodes[i] for i in from_nodes], [_name(ran[j]) for j in named])
    return {named[j]: from_nodes[i] for j, i in matches.items()}


def _aligned(nodes: Sequence[str], ran: Sequence[str]) -> dict[int, int]:
    start, end = (0, 0), (len(nodes), len(ran))
    cost_at = {start: 0}
    came_from: dict[tuple[int, int], tuple[tuple[int, int], bool]] = {}
    # A* search. Where more nodes than operators are left, at least the difference will be left over.
    heap = [(max(0, end[0] - end[1]), 0, start)]
    settled = set()
    while heap:
        _, _, at = heapq.heappop(heap)
        if at == end:
            break
        if at in settled:
            continue
        settled.add(at)
        for to, extra, belongs in _moves(nodes, ran, *at):
            cost = cost_at[at] + extra
            if cost < cost_at.get(to, cost + 1):
                cost_at[to] = cost
                came_from[to] = (at, belongs)
                least = max(0, (end[0] - to[0]) - (end[1] - to[1]))
                heapq.heappush(heap, (cost + least, -sum(to), to))
    matches: dict[int, int] = {}
    while at != start:
        before, belongs = came_from[at]
        if belongs:
            matches[at[1] - 1] = at[0] - 1
        at = before
    return matches


def _moves(nodes: Sequence[str], ran: Sequence[str], i: int, j: int) -> list[tuple[tuple[int, int], int, bool]]:
    """(where to, cost, whether ran[j] belongs to the node before the new i)."""
    moves = []
    another_part = i > 0 and j < len(ran) and _has_parts(nodes[i - 1]) and likeness(nodes[i - 1], ran[j]) == _SAME
    if another_part:
        moves.append(((i, j + 1), 0, True))
    if i < len(nodes) and j < len(ran) and (alike := likeness(nodes[i], ran[j])):
        moves.append(((i + 1, j + 1), _SAME - alike, True))
        # Nothing is better than two that are the same: what one of them could be joined to later, costs more.
        if alike == _SAME and not another_part:
            return moves
    if i < len(nodes):
        moves.append(((i + 1, j), 1, False))
    if j < len(ran):
        moves.append(((i, j + 1), 1, False))
    return moves


def _has_parts(node: str) -> bool:
    return _plain(node.removeprefix("XNN")).startswith(_IN_PARTS)


def _name(ran: str) -> str:
    """Without the types in brackets, and the number that ExecuTorch counts each name with."""
    return _plain(re.split(r" \(| #", ran, maxsplit=1)[0])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("static")
