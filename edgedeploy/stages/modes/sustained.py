"""One process without a pause for minutes: how hot the device gets, and whether it becomes slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from edgedeploy.domain.conditions import During, Sample
from edgedeploy.domain.mode_figures import SustainedFigures, Window
from edgedeploy.runners.document import RunnerDocument
from edgedeploy.stages.modes.session import Session, Taken
from edgedeploy.stats import quantile
from edgedeploy.stats.sustained import FEWEST, first_and_last, slower_since

_MOST_WINDOWS = 600
_LEAST_WINDOWS = 60
_CLOCK_DROP = 0.95
_BUSIER = 0.25  # processors
_NEAR_S = 2.5


def sustained(session: Session) -> Taken:
    """One process, for all the minutes.

    Raises:
        RunnerError: it failed.
        DeviceLostError: the device went away.
    """
    watching, seconds = session.watching(), session.policy.max_seconds
    launch = msgspec.structs.replace(session.launch(), window_s=window_s(seconds))
    session.tell(0, 1, f"{seconds / 60:g} minutes without a pause")
    document = session.run(watching, launch)
    during = watching.seen()
    return Taken(
        processes=(document.samples,),
        document=document,
        outputs=session.placed.scratch,
        during=during,
        figures=figures_of(document, during, session.policy.sustained.slowdown),
    )


def window_s(seconds: float) -> float:
    """How long a window is: a second, but no fewer than 60 of them and no more than 600."""
    return min(max(1.0, seconds / _MOST_WINDOWS), seconds / _LEAST_WINDOWS)


def figures_of(document: RunnerDocument, during: During, slowdown: float) -> SustainedFigures:
    """What the windows and the looks at the device say."""
    windows = tuple(_windows(document, during))
    medians = [(window.at_s, window.p50_ns) for window in windows]
    first, last = first_and_last(medians)
    since_s = slower_since(medians, slowdown)
    return SustainedFigures(
        seconds=round((document.timed_ns or 0) / 1e9, 3),
        windows=windows,
        slowdown=slowdown,
        first_p50_ns=round(first),
        last_p50_ns=round(last),
        slower_after_s=since_s,
        signs=tuple(_signs(windows, since_s)),
    )


def _windows(document: RunnerDocument, during: During) -> Iterator[Window]:
    began_ns = document.windows[0].began_ns
    slept_ns = document.suspended_ns
    ends_ns = [window.began_ns for window in document.windows[1:]] + [began_ns + (document.timed_ns or 0)]
    first = 0
    for window, end_ns in zip(document.windows, ends_ns, strict=True):
        kept = document.latency_ns[first : first + window.kept]
        first += window.kept
        looks: list[Sample] = []
        if slept_ns is not None and during.began_uptime_s is not None:
            from_s, to_s = ((at + slept_ns) / 1e9 - during.began_uptime_s for at in (window.began_ns, end_ns))
            looks = _looks(during.samples, from_s, to_s)
        yield Window(
            at_s=round((window.began_ns - began_ns) / 1e9, 3),
            iterations=window.iterations,
            kept=window.kept,
            p50_ns=quantile(kept, 0.5),
            hottest_c=_middle([look.hottest_c for look in looks]),
            clock_hz=_fastest([look.clocks_hz for look in looks]),
            limit_hz=_fastest([look.limits_hz for look in looks]),
            others=_middle([look.others for look in looks]),
        )


def _looks(samples: Sequence[Sample], from_s: float, to_s: float) -> list[Sample]:
    """Those of a window, or the one that is nearest: looks come twice a second, on slow devices every 5 s."""
    within = [sample for sample in samples if from_s <= sample.at_s < to_s]
    if within or not samples:
        return within
    nearest = min(samples, key=lambda sample: abs(sample.at_s - from_s))
    return [nearest] if abs(nearest.at_s - from_s) <= _NEAR_S else []


def _middle(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return round(median(told), 2) if told else None


def _fastest(values: Sequence[tuple[int | None, ...]]) -> int | None:
    told = [hz for look in values for hz in look if hz is not None]
    return max(told, default=None)


def _signs(windows: Sequence[Window], since_s: float | None) -> Iterator[str]:
    """What the device told of the moment at which it became slower."""
    if len(windows) < FEWEST:
        yield f"{len(windows)} windows are too few to tell whether it becomes slower; give it more minutes"
    if since_s is None:
        return
    before = [window for window in windows if window.at_s < since_s]
    after = [window for window in windows if window.at_s >= since_s]
    for name, was, now in (
        ("the most that a processor may run at", *_clocks(before, after, "limit_hz")),
        ("the clock", *_clocks(before, after, "clock_hz")),
    ):
        if was and now and now < _CLOCK_DROP * was:
            yield f"{name} fell from {was / 1e9:.2f} to {now / 1e9:.2f} GHz"
    others_before, others_after = (_middle([window.others for window in part]) for part in (before, after))
    if others_before is not None and others_after is not None and others_after > others_before + _BUSIER:
        yield f"something else ran there: {others_after:.2f} processors worked for others, {others_before:.2f} before"


def _clocks(before: Sequence[Window], after: Sequence[Window], name: str) -> tuple[float | None, float | None]:
    was, now = (_middle([getattr(window, name) for window in part]) for part in (before, after))
    return was, now
