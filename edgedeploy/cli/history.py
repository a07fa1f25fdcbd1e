"""``edgedeploy history``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import bundle_option, json_option, mode_option, model_option, project_option, target_option

if TYPE_CHECKING:
    from edgedeploy.domain.mode import Mode


@click.command()
@target_option(required=False)
@model_option
@click.option("--device", metavar="NAME", help="Only this unit.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(min=1), help="At most so many, newest first.")
@mode_option
@json_option
@bundle_option("Of what was pushed from this bundle, instead of a project.")
@project_option
def history(
    target: str | None,
    models: tuple[str, ...],
    device: str | None,
    limit: int,
    mode: Mode | None,
    bundle: Path | None,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """List past measurements and comparisons, newest first, with the series that the measurements belong to.

    Measurements are put beside one another only where the environment was the same: system, runtime, governor and the like; a new
    one begins a new series. Steps and drifts are warnings and decide nothing; "edgedeploy gate" does.
    """
    from edgedeploy.cli.store import Filters, newest_documents, newest_runs, open_results
    from edgedeploy.domain.history import HistoryReport
    from edgedeploy.results.past import series_around
    from edgedeploy.results.series import with_remarks

    store, name = open_results(project_path, bundle)
    asked = Filters(project=name, target=target, models=models, device=device, mode=mode, limit=limit)
    runs = newest_runs(store, asked)
    series = series_around(runs, store)
    report = HistoryReport(
        runs=with_remarks(runs, series),
        series=series,
        comparisons=newest_documents(store.comparisons, asked) if mode is None else (),
        imported=newest_documents(store.imports, asked) if mode is None else (),
    )
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(report)))
        return
    from edgedeploy.report.history import print_history

    print_history(report)
