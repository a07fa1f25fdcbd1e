"""``edgedeploy push``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import (
    bundle_option,
    device_option,
    exporter_option,
    full_delegation_option,
    jobs_option,
    json_option,
    mode_option,
    model_option,
    precision_option,
    project_option,
    retry_option,
    target_option,
    wait_option,
)
from edgedeploy.cli.plan import show_plan
from edgedeploy.domain.project import Patience
from edgedeploy.errors import UsageError

if TYPE_CHECKING:
    from edgedeploy.domain.mode import Mode
    from edgedeploy.domain.result import PushReport


@click.command()
@target_option(required=False)
@model_option
@precision_option
@exporter_option
@device_option
@bundle_option("Push what `edgedeploy export -o` wrote; no project and no SDK is needed.")
@click.option("--dry-run", is_flag=True, help="Print what would be done and what is cached; touch nothing.")
@click.option("--no-measure", is_flag=True, help="Deploy only.")
@click.option("--no-gate", is_flag=True, help="Compare nothing with its baseline, whatever [[deploy]] says.")
@mode_option
@wait_option
@retry_option
@full_delegation_option
@jobs_option
@json_option
@project_option
@click.pass_context
def push(  # noqa: PLR0913, PLR0917 - one parameter per option
    ctx: click.Context,
    target: str | None,
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    exporters: tuple[str, ...],
    devices: tuple[str, ...],
    bundle: Path | None,
    mode: Mode | None,
    wait_s: float,
    retry_for_s: float | None,
    jobs: int | None,
    project_path: Path,
    *,
    dry_run: bool,
    no_measure: bool,
    no_gate: bool,
    require_full_delegation: bool,
    as_json: bool,
) -> None:
    """Export, verify, push, measure and judge on the devices of a target.

    Models and recipes come from the [[deploy]] blocks of edgedeploy.toml that name the target. What is cached is not exported
    again; what is on the device is not sent again.
    """
    if mode is not None and no_measure:
        raise UsageError("--mode does not go with --no-measure", next_step="leave one of them out")
    if bundle is not None:
        if models or recipes or exporters or require_full_delegation or dry_run:
            raise UsageError(
                "--model, --precision, --exporter, --require-full-delegation and --dry-run do not go with --bundle",
                next_step="a bundle is pushed whole",
            )
        patience = Patience.asked(wait_s=wait_s, retry_for_s=retry_for_s)
        report = _push_bundle(bundle, target, devices, patience, mode, measure=not no_measure, quiet=as_json)
    else:
        if target is None:
            raise UsageError("no target", next_step="add --target NAME; `edgedeploy targets` lists them")
        from edgedeploy.cli.progress import shown
        from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
        from edgedeploy.stages.plan import Selection

        pipeline = Pipeline.load(project_path)
        selection = Selection(models=models, recipes=recipes, exporters=exporters, mode=mode)
        if dry_run:
            if devices:
                raise UsageError("--device does not go with --dry-run", next_step="a dry run touches no device; leave it out")
            show_plan(pipeline.plan(target, selection=selection), as_json=as_json)
            return
        with shown(quiet=as_json and not os.isatty(2)) as sink:
            report = pipeline.push(
                target,
                selection=selection,
                devices=devices,
                measure=not no_measure,
                gate=not no_gate,
                require_full_delegation=require_full_delegation,
                jobs=jobs or DEFAULT_JOBS,
                patience=Patience.asked(wait_s=wait_s, retry_for_s=retry_for_s),
                sink=sink,
            )
    show_report(report, as_json=as_json)
    ctx.exit(report.exit_code)


def _push_bundle(
    bundle: Path,
    target: str | None,
    devices: tuple[str, ...],
    patience: Patience,
    mode: Mode | None,
    *,
    measure: bool,
    quiet: bool,
) -> PushReport:
    from edgedeploy.cli.progress import shown
    from edgedeploy.pipeline import push_bundle

    with shown(quiet=quiet and not os.isatty(2)) as sink:
        return push_bundle(bundle, target=target, devices=devices, measure=measure, mode=mode, patience=patience, sink=sink)


def show_report(report: PushReport, *, as_json: bool) -> None:
    """The results on stdout; in a GitHub job also in its step summary."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        from edgedeploy.report.terminal import print_report

        print_report(report)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        _append_summary(Path(summary), report)


def _append_summary(summary: Path, report: PushReport) -> None:
    from edgedeploy.report.github import step_summary

    try:
        with summary.open("a", encoding="utf-8") as file:
            file.write(step_summary(report))
    except OSError as error:  # the results are known all the same, and so is their exit code
        click.echo(f"warning: the step summary cannot be written: {summary}: {error.strerror or error}", err=True)
