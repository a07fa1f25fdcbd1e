"""A plan, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgedeploy.domain.plan import Fits, ModelFacts, PlanLine, PlanReport
from edgedeploy.report import units
from edgedeploy.report.layout import empty_table, fits

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_STYLES: dict[Fits, str] = {"yes": "green", "no": "bold red", "doubtful": "yellow", "unknown": "dim"}
_LEFT = frozenset({"lane", "fits", "bound"})
_COLUMNS = ("lane", "size", "export", "device", "least", "bound", "fits")


def print_plan(report: PlanReport, console: Console | None = None) -> None:
    """Print each model with one row per lane, and below what stands in the way.

    Where the table would have to break a cell, each run is a few lines instead.
    """
    from rich.console import Console

    console = console or Console()
    free = f", {units.size(report.host_memory_bytes)} of memory free here" if report.host_memory_bytes is not None else ""
    console.print(f"{units.clean(report.project)} on {units.clean(report.target)}{free}", markup=False, highlight=False)
    for model in dict.fromkeys(facts.model for facts in report.models):
        for facts in report.models:
            if facts.model == model:
                console.print()
                _print_lines(_model_lines(facts), console)
        _print_runs(model, [line for line in report.runs if line.model == model], report.target, console)


def _print_runs(model: str, runs: list[PlanLine], target: str, console: Console) -> None:
    table = _table(runs)
    if fits(table, console):
        console.print(table)
    else:
        _print_lines((line for run in runs for line in _block(run)), console)
    _print_lines((remark for run in runs for remark in _remarks(model, run)), console)
    _print_lines(_ungated(model, runs, target), console)
    _print_lines(_cached(runs), console)
    _print_lines(_unknown(runs), console)


def _table(runs: list[PlanLine]) -> Table:
    from rich.text import Text

    table = empty_table()
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in _LEFT else "right")
    for run in runs:
        cells = _cells(run)
        table.add_row(*(Text(cells[name], style=_STYLES[run.fits] if name == "fits" else "") for name in _COLUMNS))
    return table


def _cells(run: PlanLine) -> dict[str, str]:
    predicted = run.predicted
    roofline = predicted.roofline if predicted else None
    size = units.size(run.size_bytes) if run.size_bytes is not None else units.size(predicted.size_bytes if predicted else None)
    return {
        "lane": _lane(run),
        "size": size,
        "export": units.size(predicted.export_peak_bytes if predicted else None),
        "device": units.size(predicted.device_bytes if predicted else None),
        "least": units.duration(roofline.least_ns if roofline else None),
        "bound": (roofline.bound if roofline else None) or units.ABSENT,
        "fits": run.fits,
    }


def _block(run: PlanLine) -> Iterator[Text]:
    from rich.text import Text

    cells = _cells(run)
    yield Text.assemble((cells["lane"], "bold"), "  ", (cells["fits"], _STYLES[run.fits]))
    shown = (name for name in _COLUMNS if name not in {"lane", "fits"} and cells[name] != units.ABSENT)
    yield Text("  ") + Text("   ").join(Text.assemble((f"{name} ", "dim"), cells[name]) for name in shown)


def _model_lines(facts: ModelFacts) -> Iterator[Text]:
    from rich.text import Text

    steps = f" after {', '.join(facts.compressed_by)}" if facts.compressed_by else ""
    name = Text(units.clean(facts.model + steps), style="bold")
    if facts.error is not None:
        yield name + Text.assemble(("  cannot be traced: ", "red"), units.clean(facts.error.what), style="not bold")
        return
    if facts.parameters is None:
        yield name + Text("  not counted yet: `edgedeploy plan` does it", style="not bold")
        return
    yield name
    kinds = (facts.weight_bytes_by_kind or {}).items()
    yield Text(f"  {units.count(facts.parameters)} parameters, {units.count(facts.macs)} multiply-accumulates a call")
    yield Text(f"  {units.count(facts.operators)} operators; activations {units.size(facts.activation_bytes)}")
    largest = ", ".join(f"{kind} {units.size(size_bytes)}" for kind, size_bytes in list(kinds)[:3])
    yield Text(f"  weights {units.size(facts.weight_bytes)}: {largest}")
    if facts.state_bytes:
        yield Text(f"  state kept between calls (KV cache) {units.size(facts.state_bytes)}")


def _remarks(model: str, run: PlanLine) -> Iterator[Text]:
    from rich.text import Text

    for obstacle in run.obstacles:
        colour = "red" if obstacle.certain else "yellow"
        yield Text.assemble((f"{units.clean(model)} {_lane(run)}: ", colour), units.clean(obstacle.what))
        if obstacle.where:
            yield Text(f"  at {units.clean(obstacle.where)}")
        if obstacle.next_step:
            yield Text(f"  next: {units.clean(obstacle.next_step)}")


def _ungated(model: str, runs: list[PlanLine], target: str) -> Iterator[Text]:
    """What should be compared with a baseline, and has none."""
    from rich.text import Text

    lacking = [_lane(run) for run in runs if run.gated and not run.baseline_sha256]
    for lane in lacking:
        what = "gated, and without a baseline: it would not be pushed"
        yield Text.assemble((f"{units.clean(model)} {lane}: ", "red"), what)
    if lacking:
        yield Text(f"  next: edgedeploy baseline set --target {units.clean(target)}, or push with --no-gate")


def _cached(runs: list[PlanLine]) -> Iterator[Text]:
    from rich.text import Text

    verified = [_lane(run) for run in runs if run.export_cached and run.verify_cached]
    exported = [_lane(run) for run in runs if run.export_cached and not run.verify_cached]
    gated = [_lane(run) for run in runs if run.gated and run.baseline_sha256]
    for what, lanes in (
        ("exported and verified already", verified),
        ("exported already", exported),
        ("compared with their baselines when they are pushed", gated),
    ):
        if lanes:
            yield Text(f"{what}: {', '.join(lanes)}")


def _unknown(runs: list[PlanLine]) -> Iterator[Text]:
    """What is not predicted for want of a figure, once for all lanes that want the same."""
    from rich.text import Text

    wanting: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        roofline = run.predicted.roofline if run.predicted else None
        if roofline is not None and roofline.unknown:
            wanting.setdefault(roofline.unknown, []).append(_lane(run))
    for names, lanes in wanting.items():
        whose = "" if len(wanting) == 1 else f" ({', '.join(lanes)})"
        yield Text(f"the target does not say: {', '.join(names)}{whose}", style="dim")


def _lane(run: PlanLine) -> str:
    recipe = "" if run.recipe == run.lane.precision else f" ({run.recipe})"
    return units.clean(f"{run.lane.id}{recipe}")


def _print_lines(lines: Iterator[Text], console: Console) -> None:
    for line in lines:
        console.print(line, highlight=False)
