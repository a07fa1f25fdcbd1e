"""What a mode of measuring gives besides latencies, in a few words, the same in every report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from edgedeploy.domain.mode_figures import (
    BurstFigures,
    ColdFigures,
    ConcurrentFigures,
    Ratio,
    Spread,
    SustainedFigures,
    ThroughputFigures,
    Window,
)
from edgedeploy.domain.result import RunResult
from edgedeploy.report import units

_BARS = 40


def lane_words(run: RunResult) -> str:
    """``executorch-xnnpack-fp32``, with the mode where it is not the usual one: those are other series."""
    return run.lane.id if run.mode == "single" else f"{run.lane.id}, {run.mode}"


def mode_words(run: RunResult) -> tuple[str, ...]:
    """Lines on what the run's mode has shown; none for mode ``single``."""
    match run.mode_figures:
        case BurstFigures() as found:
            return (_burst(found),)
        case SustainedFigures() as found:
            return tuple(_sustained(found))
        case ColdFigures() as found:
            return tuple(_cold(found))
        case ThroughputFigures() as found:
            return (_throughput(found),)
        case ConcurrentFigures() as found:
            return (_concurrent(found),)
        case _:
            return ()


def _burst(found: BurstFigures) -> str:
    first, rest = next(iter(found.place_p50_ns), None), found.place_p50_ns[1:]
    then = f", then {units.duration(round(median(rest)))}" if rest else ""
    return (
        f"burst: {units.duration(first)} after {found.idle_s:g} s of rest{then}; {found.invocations} in a row take "
        f"{units.duration(found.burst_p50_ns)} (p90 {units.duration(found.burst_p90_ns)}, {found.bursts} bursts)"
    )


def _sustained(found: SustainedFigures) -> Iterator[str]:
    change = found.last_p50_ns / max(found.first_p50_ns, 1) - 1
    bars = units.sparkline(_condensed([window.p50_ns for window in found.windows]))
    yield (
        f"sustained: {_minutes(found.seconds)}, p50 {units.duration(found.first_p50_ns)} at first and "
        f"{units.duration(found.last_p50_ns)} at the end ({change:+.1%})  {bars}"
    )
    if found.slower_after_s is not None:
        signs = "; ".join(found.signs) or "the device told nothing that explains it"
        yield f"slower by {found.slowdown:.0%} from {found.slower_after_s:.1f} s on: {signs}"
    else:
        yield "; ".join((f"never slower by {found.slowdown:.0%} to the end", *found.signs))
    yield _temperature(found.windows)


def _temperature(windows: Sequence[Window]) -> str:
    told = [(window.at_s, window.hottest_c) for window in windows if window.hottest_c is not None]
    if not told:
        return "temperature meanwhile: not told"
    at_s, most = max(told, key=lambda pair: pair[1])
    first, last = units.celsius(told[0][1]), units.celsius(told[-1][1])
    return f"hottest sensor: {first} at first, {last} at the end, most {units.celsius(most)} at {at_s:.0f} s"


def _cold(found: ColdFigures) -> Iterator[str]:
    yield (
        f"cold: {found.starts} starts: load {_spread(found.load_ns)}, first inference {_spread(found.first_inference_ns)}, "
        f"together {_spread(found.until_first_ns)}"
    )
    yield "; ".join((_dropped(found), *_left(found.cached)))


def _dropped(found: ColdFigures) -> str:
    if found.dropped:
        return "page cache: empty before each, as root"
    return f"page cache: only the model's file was taken out ({found.not_dropped})"


def _left(cached: Sequence[float | None]) -> Iterator[str]:
    told = [share for share in cached if share is not None]
    if len(told) < len(cached):
        yield "what of it stayed there, the device does not say"
    elif (most := max(told, default=0.0)) > 0:
        yield f"up to {most:.1%} of it stayed there"


def _throughput(found: ThroughputFigures) -> str:
    rate = found.per_second
    least, most = min(found.instance_p50_ns, default=0), max(found.instance_p50_ns, default=0)
    each = units.duration(least) if least == most else f"{units.duration(least)} to {units.duration(most)}"
    interval = f"{units.three_digits(max(rate.ci_low, 0))} to {units.three_digits(rate.ci_high)}"
    return (
        f"throughput: {units.three_digits(rate.mean)} inferences per second of {found.instances} "
        f"instance{'' if found.instances == 1 else 's'} ({interval}; {rate.repetitions} times {found.seconds:g} s), "
        f"p50 of an instance {each}"
    )


def _concurrent(found: ConcurrentFigures) -> str:
    others = ""
    if found.others is not None and found.others_quiet is not None:
        others = f"; {found.others:.2f} processors worked for others, {found.others_quiet:.2f} without it"
    return (
        f"beside {found.load}: p50 {_ratio(found.p50)}, p90 {_ratio(found.p90)} of those without, whose p50 is "
        f"{units.duration(found.quiet_p50_ns)} ({found.pairs} pairs{others})"
    )


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.ratio:.3g}× ({ratio.ci_low:.3g} to {ratio.ci_high:.3g})"


def _spread(spread: Spread) -> str:
    return f"{units.duration(spread.p50)} (p90 {units.duration(spread.p90)})"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"  # noqa: PLR2004


def _condensed(values: Sequence[int]) -> list[int | None]:
    """At most so many: the median of each stretch."""
    stretch = max(1, -(-len(values) // _BARS))
    return [round(median(values[at : at + stretch])) for at in range(0, len(values), stretch)]
