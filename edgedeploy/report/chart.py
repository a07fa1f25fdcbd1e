"""Geometry of the charts in the HTML report. Pure: samples in, coordinates out.

Coordinates are in per mille of the plot, from its upper left corner: the plot is stretched to whatever width the page
has, and labels are text of the page, so that they keep their size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.report import units
from edgedeploy.stats import quantile

_PLOT = 1000
# Beyond this many dots a plot is a smear, and the page heavy; every bucket keeps its least and greatest then.
_MOST_DOTS = 2_000
_MOST_STEPS = 400
_TICKS = 4
# A stray a hundred times as slow would press everything else onto the axis: where the slowest twentieth would take more
# than two thirds of the height, the axis ends two usual ranges above the rest.
_USUAL_QUANTILE = 0.95
_SPREADS_SHOWN = 2
_STRAYS_MOST_SHARE = 3
# In per mille: labels of marks nearer than this would overlap on a phone.
_LABEL_WIDTH = 110


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A labelled place on an axis."""

    at: float
    label: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One process: ``path`` is an SVG path, ``warmup`` one for its warm-ups, ``above`` one for pinned dots."""

    number: int
    path: str
    warmup: str = ""
    above: str = ""
    start: float = 0.0
    end: float = float(_PLOT)
    p50_ns: int


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A plot with its axes. ``pinned`` counts dots that are drawn on the upper edge because they lie above it."""

    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Tick, ...]
    pinned: int = 0
    pinned_up_to_ns: int = 0
    thinned: bool = False


def latency_chart(processes: Sequence[ProcessSamples]) -> Chart | None:
    """Latency over iterations, process after process, each with its warm-ups first; None without a timed sample."""
    timed = [sample for process in processes for sample in process.latency_ns]
    if not timed:
        return None
    warmups = [sample for process in processes for sample in process.warmup_ns]
    low, high = _range(timed, [*timed, *warmups])
    width = _PLOT / sum(len(process.warmup_ns) + len(process.latency_ns) for process in processes)
    series: list[Series] = []
    ticks: list[Tick] = []
    begin = 0
    thinned = False
    for number, process in enumerate(processes):
        dots = [((begin + i + 0.5) * width, ns) for i, ns in enumerate(process.warmup_ns + process.latency_ns)]
        warm, hot = dots[: len(process.warmup_ns)], dots[len(process.warmup_ns) :]
        drawn = _thinned(hot, _MOST_DOTS // len(processes))
        thinned = thinned or len(drawn) < len(hot)
        end = begin + len(dots)
        if process.latency_ns:
            series.append(
                Series(
                    number=number,
                    path=_dots(drawn, low, high),
                    warmup=_dots(warm, low, high),
                    above=_dots([dot for dot in (*warm, *drawn) if dot[1] > high], low, high),
                    start=begin * width,
                    end=end * width,
                    p50_ns=quantile(process.latency_ns, 0.5),
                )
            )
            ticks.append(Tick(at=(begin + end) / 2 * width, label=f"process {number + 1}"))
        begin = end
    beyond = [sample for sample in (*timed, *warmups) if sample > high]
    return Chart(
        series=tuple(series),
        x_ticks=tuple(ticks),
        y_ticks=tuple(Tick(at=_down(value, low, high), label=label) for value, label in _nice_labels(low, high)),
        marks=(Tick(at=_down(quantile(timed, 0.5), low, high), label="p50"),),
        pinned=len(beyond),
        pinned_up_to_ns=max(beyond, default=0),
        thinned=thinned,
    )


def distribution_chart(processes: Sequence[ProcessSamples]) -> Chart | None:
    """Share of iterations at or below a latency (ECDF), one line per process; None without a timed sample."""
    timed = [sample for process in processes for sample in process.latency_ns]
    if not timed:
        return None
    low, high = _range(timed, timed)
    series = tuple(
        Series(
            number=number,
            path=_staircase(sorted(process.latency_ns), low, high),
            p50_ns=quantile(process.latency_ns, 0.5),
        )
        for number, process in enumerate(processes)
        if process.latency_ns
    )
    beyond = [sample for sample in timed if sample > high]
    return Chart(
        series=series,
        x_ticks=tuple(Tick(at=_across(value, low, high), label=label) for value, label in _nice_labels(low, high)),
        y_ticks=tuple(Tick(at=_PLOT * (1 - share / 100), label=f"{share} %") for share in (0, 50, 90, 100)),
        marks=tuple(
            Tick(at=_across(quantile(timed, q), low, high), label=label)
            for q, label in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
            if quantile(timed, q) <= high
        ),
        pinned=len(beyond),
        pinned_up_to_ns=max(beyond, default=0),
    )


def _range(typical: Sequence[int], everything: Sequence[int]) -> tuple[int, int]:
    """Both ends of the latency axis: all of the samples, or less of the top when strays would flatten the rest."""
    low, high = min(everything), max(everything)
    usual = quantile(typical, _USUAL_QUANTILE)
    limit = usual + _SPREADS_SHOWN * max(usual - min(typical), usual // 50)
    if high - low > _STRAYS_MOST_SHARE * (limit - low) > 0:
        high = limit
    margin = max((high - low) // 12, low // 200, 1)
    return max(low - margin, 0), high + margin


def merged_labels(marks: Sequence[Tick]) -> tuple[Tick, ...]:
    """Marks, in order, with one label for those that stand too near to each other for two."""
    merged: list[Tick] = []
    for mark in marks:
        if merged and mark.at - merged[-1].at < _LABEL_WIDTH:
            last = merged.pop()
            merged.append(Tick(at=(last.at + mark.at) / 2, label=f"{last.label}, {mark.label}"))
        else:
            merged.append(mark)
    return tuple(merged)


def _nice_labels(low: int, high: int) -> Iterator[tuple[int, str]]:
    """Round values inside the range, with labels in one unit and as many decimals as the step needs."""
    raw = max((high - low) / _TICKS, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor >= raw)
    divisor, unit = next(((d, u) for d, u in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")) if high >= d), (1, "ns"))
    decimals = max(0, math.ceil(math.log10(divisor / step)))
    for value in range(-(-low // step) * step, high + 1, step):
        yield value, f"{value / divisor:.{decimals}f} {unit}"


def _thinned(dots: list[tuple[float, int]], most: int) -> list[tuple[float, int]]:
    if len(dots) <= most:
        return dots
    per_bucket = math.ceil(2 * len(dots) / most)
    buckets = (dots[i : i + per_bucket] for i in range(0, len(dots), per_bucket))
    ends = ({min(bucket, key=lambda dot: dot[1]), max(bucket, key=lambda dot: dot[1])} for bucket in buckets)
    return [dot for pair in ends for dot in sorted(pair)]


def _dots(dots: Sequence[tuple[float, int]], low: int, high: int) -> str:
    # A line of no length with round ends is a dot that stays round however the plot is stretched.
    return "".join(f"M{x:.1f} {_down(min(ns, high), low, high):.1f}h0" for x, ns in dots)


def _staircase(ordered: Sequence[int], low: int, high: int) -> str:
    count = len(ordered)
    ranks = sorted({round(i * (count - 1) / (_MOST_STEPS - 1)) for i in range(_MOST_STEPS)})
    parts = [f"M0 {_PLOT}"]
    for rank in ranks:
        if ordered[rank] > high:
            break
        parts.append(f"H{_across(ordered[rank], low, high):.1f}V{_PLOT * (1 - (rank + 1) / count):.1f}")
    parts.append(f"H{_PLOT}")
    return "".join(parts)


def _across(value: int, low: int, high: int) -> float:
    return _PLOT * (value - low) / (high - low)


def _down(value: int, low: int, high: int) -> float:
    return _PLOT - _across(value, low, high)


def spread_bar(p50_ns: int, p99_ns: int, longest_ns: int) -> tuple[float, float]:
    """Where p50 and p99 lie on a line from zero to the longest p99 of a table, in percent."""
    return 100 * p50_ns / longest_ns, 100 * p99_ns / longest_ns


def described(chart: Chart) -> str:
    """The chart in words, for those who do not see it."""
    return "; ".join(f"process {series.number + 1}: median {units.duration(series.p50_ns)}" for series in chart.series)
