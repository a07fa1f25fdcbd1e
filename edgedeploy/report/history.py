"""Runs and comparisons of the past, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgedeploy.domain.history import HistoryReport, PastComparison
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.series import Remark, Series
from edgedeploy.report import units
from edgedeploy.report.imported import import_line
from edgedeploy.report.layout import empty_table, fits, status_text, verdict_text
from edgedeploy.report.words import ratio_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_TREND_RUNS = 12
_WHOLE = frozenset({"id", "run", "when", "p50", "verdict"})


def print_history(report: HistoryReport, console: Console | None = None) -> None:
    """Print runs, in the order given (newest first), then what their series say of them, comparisons, and what was imported.

    ``trend`` is the p50 of a run's series up to this run, at most twelve; heights are relative to their own least and
    greatest. Where the width is short, model, lane and device share a column, id and time another, and the trend is left out.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    if not (report.runs or report.comparisons or report.imported):
        console.print("no runs yet: `edgedeploy push --target NAME` makes one")
        return
    if report.runs:
        table = _wide(report)
        console.print(table if fits(table, console) else _narrow(report.runs))
    shown = {run.id: run for run in report.runs}
    for series in report.series:
        lines = [_told(remark, shown) for remark in series.remarks if remark.run in shown]
        lines += [f"warning: {series.level.text}"] if series.level else []
        if lines:
            console.print()
            console.print(Text(units.clean(_title(series)), style="bold"), soft_wrap=True)
        for line in lines:
            console.print(Text(f"  {units.clean(line)}"), soft_wrap=True)
    if report.comparisons:
        console.print()
        _print_comparisons(report.comparisons, console)
    if report.imported:
        console.print()
        console.print(Text("imported; in no series, used by no gate", style="bold"))
    for item in report.imported:
        console.print(Text(f"  {units.clean(import_line(item))}"), soft_wrap=True)


def _wide(report: HistoryReport) -> Table:
    from rich.text import Text

    table = _empty("id", "when", "model", "lane", "device", "mode", "p50", "trend", "verdict")
    trends = _trends(report.series)
    for run in report.runs:
        moment = units.moment(run.created_at)
        cells = (run.id, moment, run.model, run.lane.id, run.device, run.mode, _p50(run), trends.get(run.id, ""))
        table.add_row(*(Text(units.clean(cell)) for cell in cells), verdict_text(run))
    return table


def _narrow(runs: Sequence[RunResult]) -> Table:
    from rich.text import Text

    table = _empty("run", "model and lane", "p50", "verdict")
    for run in runs:
        place = f"{run.model} on {run.device}" if run.device else run.model
        mode = () if run.mode == "single" else (f"mode {run.mode}",)
        cells = ((run.id, units.moment(run.created_at)), (place, run.lane.id, *mode), (_p50(run),))
        table.add_row(*(Text("\n".join(map(units.clean, lines))) for lines in cells), verdict_text(run, ",\n"))
    return table


def _print_comparisons(comparisons: Sequence[PastComparison], console: Console) -> None:
    from rich.text import Text

    table = _empty("comparison", "when", "base", "candidate", "device", "ratio", "verdict")
    for past in comparisons:
        found = past.contest
        sides = (f"{side.origin}: {side.model} {side.lane.id}" for side in (found.base, found.candidate))
        ratio = next(map(ratio_words, found.decided), units.ABSENT)
        cells = (past.id, units.moment(past.created_at), *sides, found.device, ratio)
        table.add_row(*(Text(units.clean(cell)) for cell in cells), status_text(found.verdict))
    if fits(table, console):
        console.print(table)
        return
    for past in comparisons:
        console.print(Text(units.clean(f"{past.verb} {past.id}  {units.moment(past.created_at)}")), soft_wrap=True)
        for line in _comparison_lines(past):
            console.print(Text(f"  {units.clean(line)}"), soft_wrap=True)


def _comparison_lines(past: PastComparison) -> Iterator[str]:
    found = past.contest
    yield f"{found.candidate.origin}: {found.candidate.model} {found.candidate.lane.id} on {found.device}"
    yield f"against {found.base.origin}: {found.base.model} {found.base.lane.id}"
    yield ", ".join((*map(ratio_words, found.decided), found.verdict))


def _empty(*columns: str) -> Table:
    table = empty_table()
    for column in columns:
        right, whole = column == "p50", column in _WHOLE or column == "comparison"
        table.add_column(column, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    return table


def _p50(run: RunResult) -> str:
    return units.duration(run.latency_ns.p50 if run.latency_ns else None)


def _title(series: Series) -> str:
    recipe = "" if series.recipe == series.lane.precision else f" ({series.recipe})"
    mode = "" if series.mode == "single" else f", {series.mode}"
    count = len(series.runs)
    runs = f"{count} run{'' if count == 1 else 's'}"
    system = series.environment.get("OS", "unknown system")
    return f"{series.model} {series.lane.id}{recipe}{mode} on {series.device}, {system}: {runs}"


def _told(remark: Remark, runs: dict[str, RunResult]) -> str:
    moment = units.moment(runs[remark.run].created_at)
    return f"{'warning: ' if remark.is_warning else ''}{moment}  run {remark.run}: {remark.text}"


def _trends(series: Sequence[Series]) -> dict[str, str]:
    return {
        run: units.sparkline(one.p50_ns[max(0, index + 1 - _TREND_RUNS) : index + 1])
        for one in series
        for index, run in enumerate(one.runs)
    }
