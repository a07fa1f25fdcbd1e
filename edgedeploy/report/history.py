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
# Ids are random: eight characters tell thousands of runs apart, and `run` takes any unique prefix.
_ID_CHARACTERS = 8


def print_history(runs: Sequence[RunResult], console: Console | None = None) -> None:
    """Print runs, in the order given (newest first).

    ``trend`` is the p50 of a series (one model's lane on one device) from its oldest run shown to this one, at most
    twelve; heights are relative to the series' own least and greatest. Where the width is short, model, lane and device
    share a column and the trend is left out.
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
        cells = (run.id[:_ID_CHARACTERS], moment, run.model, run.lane.id, run.device, _p50(run), trend)
        table.add_row(*(Text(units.clean(cell)) for cell in cells), verdict_text(run))
    return table


def _narrow(runs: Sequence[RunResult]) -> Table:
    from rich.text import Text

    table = _empty("id", "when", "model, lane, device", "p50", "verdict")
    for run in runs:
        day, _, clock = run.created_at.partition("T")
        subject = Text("\n").join(Text(units.clean(text)) for text in (run.model, f"{run.lane.id} on {run.device}"))
        row = (Text(units.clean(run.id[:_ID_CHARACTERS])), Text(units.clean(f"{day[5:]} {clock[:5]}")), subject)
        table.add_row(*row, Text(_p50(run)), verdict_text(run))
    return table


def _empty(*columns: str) -> Table:
    table = empty_table()
    for column in columns:
        right, whole = column == "p50", column in {"id", "when", "p50", "verdict"}
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
