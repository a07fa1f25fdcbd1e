"""``edgedeploy plan``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import (
    exporter_option,
    jobs_option,
    json_option,
    model_option,
    precision_option,
    project_option,
    target_option,
)

if TYPE_CHECKING:
    from edgedeploy.domain.plan import PlanReport


@click.command()
@target_option(required=True)
@model_option
@precision_option
@exporter_option
@jobs_option
@json_option
@project_option
def plan(
    target: str,
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    exporters: tuple[str, ...],
    jobs: int | None,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """Say what an export would be and whether it fits, in seconds, without converting anything.

    The model is loaded and traced, and what it is made of is counted: size, memory here and on the device, the least time
    one call can take, and what stands in the way. What docs/plan.md calls unknown is not guessed.
    """
    from edgedeploy.cli.progress import shown
    from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
    from edgedeploy.stages.plan import Selection

    pipeline = Pipeline.load(project_path)
    selection = Selection(models=models, recipes=recipes, exporters=exporters)
    with shown(quiet=as_json and not os.isatty(2)) as sink:
        report = pipeline.plan(target, selection=selection, profile=True, jobs=jobs or DEFAULT_JOBS, sink=sink)
    show_plan(report, as_json=as_json)


def show_plan(report: PlanReport, *, as_json: bool) -> None:
    """The plan on stdout."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(report)))
        return
    from edgedeploy.report.plan import print_plan

    print_plan(report)
