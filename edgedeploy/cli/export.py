"""``edgedeploy export``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from edgedeploy.cli.options import (
    exporter_option,
    full_delegation_option,
    jobs_option,
    json_option,
    model_option,
    precision_option,
    project_option,
    target_option,
)
from edgedeploy.cli.plan import show_plan
from edgedeploy.cli.push import show_report


@click.command()
@target_option(required=True)
@model_option
@precision_option
@exporter_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write a bundle there: artifacts, golden inputs, plan. Another machine pushes it with `edgedeploy push --bundle`.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done and what is cached.")
@full_delegation_option
@jobs_option
@json_option
@project_option
@click.pass_context
def export(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    target: str,
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    exporters: tuple[str, ...],
    output: Path | None,
    jobs: int | None,
    project_path: Path,
    *,
    dry_run: bool,
    require_full_delegation: bool,
    as_json: bool,
) -> None:
    """Export and verify on this machine only; no device is needed."""
    from edgedeploy.cli.progress import shown
    from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
    from edgedeploy.stages.plan import Selection

    pipeline = Pipeline.load(project_path)
    selection = Selection(models=models, recipes=recipes, exporters=exporters)
    if dry_run:
        show_plan(pipeline.plan(target, selection=selection), as_json=as_json)
        return
    with shown(quiet=as_json and not os.isatty(2)) as sink:
        report = pipeline.export(
            target,
            selection=selection,
            output=output,
            require_full_delegation=require_full_delegation,
            jobs=jobs or DEFAULT_JOBS,
            sink=sink,
        )
    show_report(report, as_json=as_json)
    if output is not None and report.exit_code == 0:
        click.echo(f"bundle: {output}", err=True)
    ctx.exit(report.exit_code)
