"""Mean power over a span of time, from what an instrument said."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

FEWEST_POINTS = 3


def mean_power_w(points: Sequence[tuple[float, float]], *, counts: bool) -> float | None:
    """Watts over the time from the first point to the last; None for fewer than three, or a counter that goes back.

    Points are pairs of seconds and watts, integrated by trapezoids, or of seconds and joules (``counts``).
    """
    if len(points) < FEWEST_POINTS:
        return None
    (began_s, first), (ended_s, last) = points[0], points[-1]
    if ended_s <= began_s:
        return None
    if counts:
        return (last - first) / (ended_s - began_s) if last >= first else None
    joules = sum((later_s - earlier_s) * (before + after) / 2 for (earlier_s, before), (later_s, after) in pairwise(points))
    return joules / (ended_s - began_s)


def within(points: Sequence[tuple[float, float]], seconds: float) -> tuple[tuple[float, float], ...]:
    """The points of the last so many seconds."""
    return tuple(point for point in points if point[0] >= points[-1][0] - seconds)


def resolution_w(points: Sequence[tuple[float, float]], *, counts: bool) -> float:
    """The smallest step that was seen, in watts: of a counter, over the whole span. 0 where nothing changed."""
    values = sorted({value for _, value in points})
    steps = [b - a for a, b in pairwise(values)]
    if not steps:
        return 0.0
    return min(steps) / (points[-1][0] - points[0][0]) if counts else min(steps)
