"""Runs of the past as series, and what those say of a run. Pure: no database in here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from edgedeploy.domain.measurement import DeviceFacts, Environment
from edgedeploy.domain.mode_figures import (
    BurstFigures,
    ColdFigures,
    ConcurrentFigures,
    ModeFigures,
    SustainedFigures,
    ThroughputFigures,
)
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.series import Remark, Series
from edgedeploy.report.units import duration
from edgedeploy.stats.history import change
from edgedeploy.stats.next_value import expected
from edgedeploy.stats.sessions import AGREEMENT, agree, session_p50, spread

RUNS_LOOKED_AT = 100
"""Of one model on one device: forty results of a series decide, and there may be several series."""

_Subject = tuple[str, str, str, str, str, str]


class _Point(msgspec.Struct, frozen=True, kw_only=True):
    """A measured run."""

    run: RunResult
    environment: dict[str, str]
    p50_ns: int

    @property
    def artifact(self) -> str:
        return self.run.artifact.sha256 if self.run.artifact else ""


def series_of(runs: Sequence[RunResult]) -> tuple[Series, ...]:
    """The series that measured runs, in any order, belong to; the one with the newest run first.

    Other runs are of no series. An environment that was there before goes on with its old series.
    """
    by_subject: defaultdict[_Subject, list[_Point]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.created_at, run.id)):
        point = _point(run)
        if point is not None:
            by_subject[subject(run)].append(point)
    found = [one for points in by_subject.values() for one in _series(points)]
    order = {run.id: (run.created_at, run.id) for run in runs}
    return tuple(sorted(found, key=lambda one: order[one.runs[-1]], reverse=True))


def subject(run: RunResult) -> _Subject:
    """What has to be the same before environments are looked at."""
    return (run.model, run.recipe, run.lane.id, run.target, run.device, run.mode)


def with_remarks(runs: Sequence[RunResult], series: Sequence[Series]) -> tuple[RunResult, ...]:
    """The same runs, each with what its series says of it."""
    said: defaultdict[str, list[Remark]] = defaultdict(list)
    for one in series:
        for remark in one.remarks:
            said[remark.run].append(remark)
    return tuple(replace(run, remarks=tuple(said[run.id])) if run.id in said else run for run in runs)


def remarks_on(run: RunResult, past: Sequence[RunResult]) -> tuple[Remark, ...]:
    """What the past says of a run that is the newest of all; a step or a drift when it is this run that made it plain."""
    before = [one for one in past if subject(one) == subject(run) and one.id != run.id]
    for series in series_of([*before, run]):
        if series.runs[-1] == run.id:
            own = tuple(remark for remark in series.remarks if remark.run == run.id)
            is_news = series.level is not None and change(series.p50_ns[:-1]) is None
            return (*own, series.level) if series.level is not None and is_news else own
    return ()


def environment_of(environment: Environment) -> dict[str, str]:
    """What makes two measurements comparable, by the names that users read; what the device did not tell is left out."""
    facts = environment.before
    held = environment.fixed_clock
    told = {
        "device model": facts.model,
        "OS": f"{facts.os} {facts.os_version or ''}".strip(),
        "OS build": facts.os_build,
        "kernel": facts.kernel,
        "runner": environment.runner,
        "runtime": f"{environment.engine} {environment.engine_version}".strip(),
        "threads": str(environment.threads),
        "processors": ", ".join(map(str, environment.cpus)),
        "governor": _governor(facts, environment.cpus),
        "fixed clock": held.how if held else "",
    }
    return {name: value for name, value in told.items() if value}


def _asked_of_mode(figures: ModeFigures | None) -> dict[str, str]:
    """What a mode was told to do: two instances are no series with four."""
    match figures:
        case BurstFigures():
            return {"bursts": f"{figures.invocations} after {figures.idle_s:g} s"}
        case SustainedFigures():
            return {"minutes": f"{figures.seconds / 60:.2g}"}
        case ColdFigures():
            return {"page cache": "empty" if figures.dropped else "without the model"}
        case ThroughputFigures():
            return {"instances": str(figures.instances)}
        case ConcurrentFigures():
            return {"load": figures.load}
        case _:
            return {}


def _governor(facts: DeviceFacts, cpus: Sequence[int]) -> str:
    used = (core.governor for core in facts.cores if core.governor and (not cpus or core.index in cpus))
    return ", ".join(sorted(set(used)))


def _point(run: RunResult) -> _Point | None:
    if run.environment is None:
        return None
    try:
        p50_ns = round(session_p50([process.latency_ns for process in run.processes]))
    except ValueError:  # nothing was timed, or by a clock that is too coarse
        return None
    return _Point(run=run, environment=environment_of(run.environment) | _asked_of_mode(run.mode_figures), p50_ns=p50_ns)


def _series(points: Sequence[_Point]) -> Iterator[Series]:
    """The series of one subject, whose points are given oldest first."""
    by_environment: defaultdict[tuple[tuple[str, str], ...], list[_Point]] = defaultdict(list)
    remarks: defaultdict[tuple[tuple[str, str], ...], list[Remark]] = defaultdict(list)
    last: _Point | None = None
    for point in points:
        key = tuple(point.environment.items())
        if last is not None and last.environment != point.environment:
            remarks[key].append(_another_environment(last, point, known=key in by_environment))
        remarks[key] += _of_one(point, by_environment[key])
        by_environment[key].append(point)
        last = point
    for key, own in by_environment.items():
        first = own[0]
        yield Series(
            model=first.run.model,
            recipe=first.run.recipe,
            lane=first.run.lane,
            target=first.run.target,
            device=first.run.device,
            mode=first.run.mode,
            environment=first.environment,
            runs=tuple(point.run.id for point in own),
            p50_ns=tuple(point.p50_ns for point in own),
            remarks=tuple(remarks[key]),
            level=_level(own),
        )


def _another_environment(last: _Point, point: _Point, *, known: bool) -> Remark:
    changed = _changed(last.environment, point.environment)
    text = f"{'back in an earlier series' if known else 'new series'}: {changed}"
    return Remark(kind="new series", run=point.run.id, text=text, other=last.run.id)


def _changed(before: dict[str, str], after: dict[str, str]) -> str:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(f"{name} {before.get(name, 'not told')} → {after.get(name, 'not told')}" for name in names)


def _of_one(point: _Point, before: Sequence[_Point]) -> Iterator[Remark]:
    """What the points before it in its series say of a point."""
    same = next((one for one in reversed(before) if point.artifact and one.artifact == point.artifact), None)
    if same is not None and not agree((same.p50_ns, point.p50_ns)):
        apart = spread((same.p50_ns, point.p50_ns))
        yield Remark(
            kind="unstable",
            run=point.run.id,
            text=f"unstable: the same artifact was {apart:.1%} {'faster' if same.p50_ns < point.p50_ns else 'slower'} "
            f"in run {same.run.id}; more than {AGREEMENT:.0%} apart",
            other=same.run.id,
            before_ns=same.p50_ns,
            after_ns=point.p50_ns,
        )
    bounds = expected([one.p50_ns for one in before])
    if bounds is not None and not bounds[0] <= point.p50_ns <= bounds[1]:
        nearer = bounds[0] if point.p50_ns < bounds[0] else bounds[1]
        yield Remark(
            kind="outside",
            run=point.run.id,
            text=f"outside its series: {duration(point.p50_ns)}, where its {len(before)} runs let one expect "
            f"{duration(round(bounds[0]))} to {duration(round(bounds[1]))}",
            before_ns=round(nearer),
            after_ns=point.p50_ns,
        )


def _level(points: Sequence[_Point]) -> Remark | None:
    found = change([point.p50_ns for point in points])
    if found is None:
        return None
    at = points[found.at]
    levels = f"{duration(round(found.before))} → {duration(round(found.after))} ({found.relative:+.1%})"
    text = f"{found.kind} {'at' if found.kind == 'step' else 'since'} run {at.run.id}: {levels}"
    if found.kind == "step" and at.artifact and at.artifact != points[found.at - 1].artifact:
        text += ", with another artifact"
    return Remark(kind=found.kind, run=at.run.id, text=text, before_ns=round(found.before), after_ns=round(found.after))
