"""What a push found, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgedeploy.domain.result import PushReport, RunResult
from edgedeploy.report import units
from edgedeploy.report.layout import empty_table, fits, verdict_text
from edgedeploy.report.modes import lane_words
from edgedeploy.report.operators import delegation_words, fallback_lines, slowest_lines
from edgedeploy.report.words import agreement_words, cold_load_words, measured_words, pushed_words, verification_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_LEFT = frozenset({"model", "lane", "device", "host vs PyTorch", "device vs PyTorch", "verdict"})
_EVERYTHING = (
    "model",
    "lane",
    "device",
    "size",
    "load",
    "cold load",
    "p50",
    "p90",
    "p99",
    "peak RSS",
    "host vs PyTorch",
    "device vs PyTorch",
    "pushed",
    "verdict",
)
# What a narrower table leaves out is in the blocks, in --json and in the HTML report.
_ESSENTIAL = ("model", "lane", "device", "size", "p50", "p90", "p99", "peak RSS", "device SQNR", "verdict")


def print_report(report: PushReport, console: Console | None = None) -> None:
    """Print a push, one row per run, reasons and errors below.

    The widest of three forms that fits without breaking a cell: all columns, the essential columns, a block of lines
    per run with everything. Without a terminal there is no colour, and nothing in a name can move a cursor.
    """
    from rich.console import Console

    console = console or Console()
    if not report.runs:
        console.print("no runs: nothing in the project deploys to this target")
        return
    for columns in (_EVERYTHING, _ESSENTIAL):
        table = _table(report.runs, columns)
        if fits(table, console):
            console.print(table)
            for run in report.runs:
                remarks = list(_remarks(run))
                if remarks:
                    console.print(_name(run))
                    _print_indented(remarks, console)
            return
    for index, run in enumerate(report.runs):
        if index:
            console.print()
        _print_block(run, console)


def _cells(run: RunResult) -> dict[str, str]:
    latency = run.latency_ns
    device = run.verify.device
    return {
        "model": units.clean(run.model),
        "lane": _lane(run),
        "device": units.clean(run.device) or units.ABSENT,
        "size": units.size(run.artifact.size_bytes if run.artifact else None),
        "load": units.duration(run.load_ns),
        "cold load": cold_load_words(run),
        "p50": units.duration(latency.p50 if latency else None),
        "p90": units.duration(latency.p90 if latency else None),
        "p99": units.duration(latency.p99 if latency else None),
        "peak RSS": units.size(run.peak_rss_bytes),
        "host vs PyTorch": agreement_words(run.verify.host),
        "device vs PyTorch": agreement_words(device),
        "device SQNR": units.decibel(device.sqnr_db, exact=device.exact) if device else units.ABSENT,
        "pushed": pushed_words(run.push),
    }


def _generation(run: RunResult) -> dict[str, str]:
    """What a language model's answer took; its p50 to p99 are those of a token."""
    found = run.generation
    if found is None:
        return {}
    return {
        "TTFT": f"{units.duration(found.ttft_ns)} for {found.prompt_tokens} tokens",
        "prefill": units.rate(found.prefill_tokens_per_s),
        "decode": units.rate(found.decode_tokens_per_s),
        "KV cache": units.size(found.kv_cache_bytes),
    }


def _table(runs: Sequence[RunResult], columns: Sequence[str]) -> Table:
    from rich.text import Text

    table = empty_table()
    for column in columns:
        table.add_column(column, justify="left" if column in _LEFT else "right")
    for run in runs:
        cells = _cells(run)
        # Text, not str: a model called "[red]" is not markup.
        table.add_row(*(verdict_text(run) if column == "verdict" else Text(cells[column]) for column in columns))
    return table


def _print_block(run: RunResult, console: Console) -> None:
    from rich.text import Text

    cells = _cells(run)
    console.print(_name(run), verdict_text(run), sep="  ")
    groups = (
        ("p50", "p90", "p99"),
        ("load", "cold load", "peak RSS"),
        ("size", "pushed"),
        ("host vs PyTorch",),
        ("device vs PyTorch",),
    )
    lines = []
    for group in groups:
        line = Text("   ").join(Text.assemble((f"{name} ", "dim"), cells[name]) for name in group if cells[name] != units.ABSENT)
        lines += [line] if line else []
    _print_indented([*lines, *_remarks(run)], console)


def _print_indented(lines: Sequence[Text], console: Console) -> None:
    from rich.padding import Padding

    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _name(run: RunResult) -> Text:
    from rich.text import Text

    place = f"  on {units.clean(run.device)}" if run.device else ""
    return Text.assemble((units.clean(run.model), "bold"), f"  {_lane(run)}", (place, "dim"))


def _lane(run: RunResult) -> str:
    """The lane, with the recipe where that is not the lane's precision: two recipes may share a lane."""
    recipe = "" if run.recipe == run.lane.precision else f" ({run.recipe})"
    return units.clean(f"{lane_words(run)}{recipe}")


def _remarks(run: RunResult) -> Iterator[Text]:
    from rich.text import Text

    if generation := _generation(run):
        yield Text("   ").join(Text.assemble((f"{name} ", "dim"), figure) for name, figure in generation.items())
    failure = run.error
    if failure is None:
        yield from (Text(units.clean(reason)) for reason in run.verdict.reasons)
    yield from (Text(units.clean(line)) for line in (*measured_words(run), *verification_words(run.verify)))
    if run.verify.note:
        yield Text(units.clean(run.verify.note))
    if run.delegation is not None:
        yield Text(units.clean(delegation_words(run.delegation)), style="dim")
    yield from (Text(units.clean(line), style="red") for line in fallback_lines(run))
    yield from (Text(units.clean(line), style="dim") for line in slowest_lines(run))
    if failure is None:
        return
    place = f"{units.clean(failure.where)}: " if failure.where else ""
    yield Text.assemble((f"{failure.kind}: ", "red"), f"{place}{units.clean(failure.what)}")
    if failure.seen:
        yield Text(f"seen: {units.clean(failure.seen)}", style="dim")
    if failure.next_step:
        yield Text(f"next: {units.clean(failure.next_step)}")
    if failure.retryable:
        yield Text("a retry may help")
