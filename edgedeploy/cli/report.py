"""``edgedeploy report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import bundle_option, model_option, project_option, target_option
from edgedeploy.errors import UsageError

if TYPE_CHECKING:
    from edgedeploy.domain.result import RunResult


@click.command()
@click.argument("run_ids", nargs=-1, metavar="[RUN]...")
@target_option(required=False)
@model_option
@click.option(
    "--format", "kind", type=click.Choice(["html", "junit", "markdown"]), default="html", show_default=True, help="What to write."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Default: edgedeploy-report.* here.")
@bundle_option("Of what was pushed from this bundle, instead of a project.")
@project_option
def report(
    run_ids: tuple[str, ...],
    target: str | None,
    models: tuple[str, ...],
    kind: str,
    output: Path | None,
    bundle: Path | None,
    project_path: Path,
) -> None:
    """Write a report of the runs named, or of the newest run of every lane on every device."""
    from edgedeploy.cli.store import open_results
    from edgedeploy.results.past import series_around
    from edgedeploy.results.series import with_remarks

    store, name = open_results(project_path, bundle)
    if run_ids:
        runs = [store.run(run_id) for run_id in run_ids]
    else:
        runs = _newest(store.runs(project=name, target=target, limit=1000), models)
    runs = list(with_remarks(runs, series_around(runs, store)))
    if not runs:
        raise UsageError("no results yet", where=name, next_step="run `edgedeploy push --target NAME` first")
    suffix = {"html": ".html", "junit": ".xml", "markdown": ".md"}[kind]
    file = output or Path(f"edgedeploy-report{suffix}")
    try:
        file.write_text(_render(kind, runs, name), encoding="utf-8")
    except OSError as error:
        raise UsageError("the report cannot be written", where=str(file), seen=error.strerror or str(error)) from None
    click.echo(file.absolute())


def _newest(runs: tuple[RunResult, ...], models: tuple[str, ...]) -> list[RunResult]:
    newest: dict[tuple[str, ...], RunResult] = {}
    for run in runs:
        if not models or run.model in models:
            newest.setdefault((run.model, run.recipe, run.lane.id, run.target, run.device), run)
    return list(newest.values())


def _render(kind: str, runs: list[RunResult], project: str) -> str:
    if kind == "html":
        from edgedeploy.report.html import render_html

        return render_html(runs, title=project)
    from edgedeploy import __version__
    from edgedeploy.domain.result import PushReport

    document = PushReport(edgedeploy=__version__, project=project, target=runs[0].target, runs=tuple(runs))
    if kind == "junit":
        from edgedeploy.report.junit import junit_xml

        return junit_xml(document)
    from edgedeploy.report.github import step_summary

    return step_summary(document)
