"""Runs of the past, for a terminal or a pipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgedeploy.domain.result import RunResult
from edgedeploy.report import units
from edgedeploy.report.layout import empty_table, fits, verdict_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_TREND_RUNS = 12


def print_history(runs: Sequence[RunResult], console: Console | None = None) -> None:
    """Print runs, in the order given (newest first).

    ``trend`` is the p50 of a series (one model's lane on one device) from its oldest run shown to this one, at most
    twelve; heights are relative to the series' own least and greatest. Where the width is short, model, lane and device
    share a column, id and time another, and the trend is left out.
    """
    from rich.console import Console

    console = console or Console()
    if not runs:
        console.print("no runs yet: `edgedeploy push --target NAME` makes one")
        return
    table = _wide(runs)
    console.print(table if fits(table, console) else _narrow(runs))


def _wide(runs: Sequence[RunResult]) -> Table:
    from rich.text import Text

    table = _empty("id", "when", "model", "lane", "device", "p50", "trend", "verdict")
    for run, trend in zip(runs, _trends(runs), strict=True):
        moment = units.moment(run.created_at)
        cells = (run.id, moment, run.model, run.lane.id, run.device, _p50(run), trend)
        table.add_row(*(Text(units.clean(cell)) for cell in cells), verdict_text(run))
    return table


def _narrow(runs: Sequence[RunResult]) -> Table:
    from rich.text import Text

    table = _empty("run", "model and lane", "p50", "verdict")
    for run in runs:
        place = f"{run.model} on {run.device}" if run.device else run.model
        cells = ((run.id, units.moment(run.created_at)), (place, run.lane.id), (_p50(run),))
        table.add_row(*(Text("\n".join(map(units.clean, lines))) for lines in cells), verdict_text(run))
    return table


def _empty(*columns: str) -> Table:
    table = empty_table()
    for column in columns:
        right, whole = column == "p50", column in {"id", "run", "when", "p50", "verdict"}
        table.add_column(column, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    return table


def _p50(run: RunResult) -> str:
    return units.duration(run.latency_ns.p50 if run.latency_ns else None)


def _trends(newest_first: Sequence[RunResult]) -> list[str]:
    series: defaultdict[tuple[str, str, str], list[int | None]] = defaultdict(list)
    lines = []
    for run in reversed(newest_first):
        past = series[run.model, run.lane.id, run.device]
        past.append(run.latency_ns.p50 if run.latency_ns else None)
        lines.append(units.sparkline(past[-_TREND_RUNS:]))
    return lines[::-1]
