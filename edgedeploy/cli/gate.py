"""``edgedeploy gate``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.fight import fight_options, tell
from edgedeploy.cli.options import (
    device_option,
    jobs_option,
    json_option,
    model_option,
    project_option,
    retry_option,
    target_option,
    wait_option,
)
from edgedeploy.domain.project import Patience

if TYPE_CHECKING:
    from edgedeploy.stages.fight import Rules


@click.command()
@target_option(required=True)
@model_option
@fight_options
@device_option
@wait_option
@retry_option
@jobs_option
@json_option
@project_option
@click.pass_context
def gate(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: click.Context,
    target: str,
    models: tuple[str, ...],
    rules: Rules,
    devices: tuple[str, ...],
    wait_s: float,
    retry_for_s: float | None,
    jobs: int | None,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """Is the project as it is worse than its baselines, by more than its [[deploy]] blocks tolerate?

    Each run with a gate = { latency_p50_percent = 3, … } is compared with its baseline on the devices of the target, both in
    turns. Nothing is released. Exit code 0: none is worse; 1: one is; 7: not settled, and CI may try again.
    """
    from edgedeploy.cli.progress import shown
    from edgedeploy.comparing.comparison import Comparing
    from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline

    pipeline = Pipeline.load(project_path)
    with shown(quiet=as_json and not os.isatty(2)) as sink:
        comparing = Comparing(pipeline=pipeline, target=target, models=models, jobs=jobs or DEFAULT_JOBS, sink=sink)
        report = comparing.gate(rules, devices=devices, patience=Patience.asked(wait_s=wait_s, retry_for_s=retry_for_s))
    tell(report, as_json=as_json)
    ctx.exit(report.exit_code)
