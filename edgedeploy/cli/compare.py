"""``edgedeploy compare``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.fight import fight_options, tell
from edgedeploy.cli.options import (
    Number,
    device_option,
    jobs_option,
    json_option,
    model_option,
    project_option,
    retry_option,
    target_option,
    wait_option,
)
from edgedeploy.domain.comparison import FIGURES, Figure
from edgedeploy.domain.project import Patience

if TYPE_CHECKING:
    from edgedeploy.stages.fight import Rules

_PERCENT = 100


@click.command()
@click.argument("base")
@click.argument("candidate", default="now")
@target_option(required=True)
@model_option
@click.option("--figure", type=click.Choice(FIGURES), default=FIGURES[0], show_default=True, help="What decides.")
@click.option(
    "--tolerance",
    "tolerance_percent",
    type=Number(min=0, max=10_000),
    default=2.0,
    show_default=True,
    metavar="PERCENT",
    help="By how much the candidate may be slower, or larger.",
)
@fight_options
@device_option
@wait_option
@retry_option
@jobs_option
@json_option
@project_option
@click.pass_context
def compare(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: click.Context,
    base: str,
    candidate: str,
    target: str,
    models: tuple[str, ...],
    figure: Figure,
    tolerance_percent: float,
    rules: Rules,
    devices: tuple[str, ...],
    wait_s: float,
    retry_for_s: float | None,
    jobs: int | None,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """Is CANDIDATE slower than BASE? Both run on the same device in the same minutes, in turns.

    A side is "now" (the project as it is), git:REVISION (as it was), "baseline" (what "edgedeploy baseline set" wrote down),
    "release" or release:N (what is on the device), or the folder of a bundle. @RECIPE or @RECIPE/EXPORTER may follow:
    "edgedeploy compare now@fp32 now@int8 --target NAME". It ends as soon as the answer is clear: pass (exit code 0), fail (1),
    or inconclusive (7) with what would make it clear.
    """
    from edgedeploy.cli.progress import shown
    from edgedeploy.comparing.bundles import compare_bundles, need_no_project
    from edgedeploy.comparing.comparison import Comparing
    from edgedeploy.comparing.sides import parse_side
    from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline

    rules = replace(rules, bounds=((figure, tolerance_percent / _PERCENT),))
    sides = parse_side(base), parse_side(candidate)
    patience = Patience.asked(wait_s=wait_s, retry_for_s=retry_for_s)
    with shown(quiet=as_json and not os.isatty(2)) as sink:
        if need_no_project(sides):
            report = compare_bundles(sides, rules, target=target, models=models, devices=devices, patience=patience, sink=sink)
        else:
            pipeline = Pipeline.load(project_path)
            comparing = Comparing(pipeline=pipeline, target=target, models=models, jobs=jobs or DEFAULT_JOBS, sink=sink)
            report = comparing.run(sides, rules, devices=devices, patience=patience)
    tell(report, as_json=as_json)
    ctx.exit(report.exit_code)
