"""``edgedeploy doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import json_option

if TYPE_CHECKING:
    from rich.console import Console

    from edgedeploy.doctor import Diagnosis

_COLOURS = {"ok": "green", "other version": "yellow", "missing": "red"}


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Say which SDKs and tools are there, what they are for, and how to get the others.

    Ends with 0 when at least one lane can be exported and run on this machine, with 3 when none can.
    """
    from edgedeploy.doctor import diagnose

    diagnosis = diagnose()
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(diagnosis)))
    else:
        _print(diagnosis)
    ctx.exit(diagnosis.exit_code)


def _print(diagnosis: Diagnosis) -> None:
    """What is missing first, then everything. Commands are never wrapped: they are there to be copied."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    nearest = diagnosis.nearest
    if not diagnosis.ready and nearest is not None:
        console.print(Text(f"No lane can run here yet. {nearest.lane} lacks: {', '.join(nearest.missing)}", "bold red"))
        click.echo(f"  {nearest.install}\n")
    _print_checks(diagnosis, console)
    click.echo()
    for check in diagnosis.checks:
        if check.install:
            console.print(Text.assemble((check.name, "bold"), f", for {check.needed_for}:"))
            click.echo(f"  {check.install}")
    told = {check.name for check in diagnosis.checks}
    for lane in diagnosis.lanes:
        place = "exports and runs here" if lane.runs_here else "exports here, runs on its devices only"
        state = f"needs {', '.join(lane.missing)}" if lane.missing else place
        console.print(Text.assemble((f"{lane.lane}: ", "bold"), (state, "red" if lane.missing else "green")))
        if not told.issuperset(lane.missing):
            click.echo(f"  {lane.install}")


def _print_checks(diagnosis: Diagnosis, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if not console.is_terminal:
        width = max(len(check.name) for check in diagnosis.checks)
        for check in diagnosis.checks:
            click.echo(f"{check.state:13}  {check.name:{width}}  {check.found}")
        return
    grid = Table.grid(padding=(0, 2))
    for folds in (False, False, True):
        grid.add_column(no_wrap=not folds, overflow="fold")
    for check in diagnosis.checks:
        grid.add_row(Text(check.state, _COLOURS[check.state]), Text(check.name), Text(check.found))
    console.print(grid)
