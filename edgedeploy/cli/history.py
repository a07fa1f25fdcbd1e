"""``edgedeploy history``."""

from __future__ import annotations

from pathlib import Path

import click

from edgedeploy.cli.options import bundle_option, json_option, model_option, project_option, target_option


@click.command()
@target_option(required=False)
@model_option
@click.option("--device", metavar="NAME", help="Only this unit.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(min=1), help="At most so many, newest first.")
@json_option
@bundle_option("Of what was pushed from this bundle, instead of a project.")
@project_option
def history(
    target: str | None,
    models: tuple[str, ...],
    device: str | None,
    limit: int,
    bundle: Path | None,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """List past measurements, newest first."""
    from edgedeploy.cli.results import open_results

    store, name = open_results(project_path, bundle)
    runs = [
        run
        for model in (models or (None,))
        for run in store.runs(project=name, model=model, target=target, device=device, limit=limit)
    ]
    runs = sorted(runs, key=lambda run: run.created_at, reverse=True)[:limit]
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"schema": "edgedeploy.history/1", "runs": runs})))
        return
    from edgedeploy.report.terminal import print_history

    print_history(runs)
