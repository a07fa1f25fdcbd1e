"""``edgedeploy baseline``."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    from edgedeploy.domain.baseline import Baselines
    from edgedeploy.revision import Origin

_NAMED = 3  # files that are named


@click.group()
def baseline() -> None:
    """Say what artifacts are compared with, and show it.

    Baselines are a small file beside the project file, baselines/TARGET.json: commit it, and review it when it changes. Nothing
    that is measured ever moves them. "edgedeploy compare baseline" compares the project as it is with them.
    """


@baseline.command("set")
@target_option(required=True)
@model_option
@precision_option
@exporter_option
@jobs_option
@json_option
@project_option
def set_them(
    target: str,
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    exporters: tuple[str, ...],
    jobs: int | None,
    project_path: Path,
    *,
    as_json: bool,
) -> None:
    """Make what the project exports now the baseline of its models, or of those that are chosen."""
    from edgedeploy.baselines import file_of, set_baselines
    from edgedeploy.cli.progress import shown
    from edgedeploy.domain.events import Note
    from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
    from edgedeploy.revision import origin_of
    from edgedeploy.stages.export import files_read
    from edgedeploy.stages.plan import Selection

    pipeline = Pipeline.load(project_path)
    with shown(quiet=as_json and not os.isatty(2)) as sink:
        selection = Selection(models=models, recipes=recipes, exporters=exporters)
        ready = pipeline.exported(target, selection=selection, jobs=jobs or DEFAULT_JOBS, sink=sink)
        read = {path for item in ready for path in files_read(item.prepared.run, pipeline.project_file, pipeline.cache)}
        origin = origin_of(pipeline.project_file, read)
        for text in _reservations(origin):
            sink(Note(text=text, level="warning"))
        found = set_baselines(pipeline.project_file, target, ready, origin.commit)
    _tell(found, as_json=as_json)
    if not as_json:
        click.echo(f"{file_of(pipeline.project_file, target)}: commit it")


@baseline.command("list")
@target_option(required=True)
@json_option
@project_option
def show(target: str, project_path: Path, *, as_json: bool) -> None:
    """Show the baselines of a target."""
    from edgedeploy.baselines import read_baselines
    from edgedeploy.pipeline import Pipeline

    pipeline = Pipeline.load(project_path)
    pipeline.lab.target(target)
    _tell(read_baselines(pipeline.project_file, target), as_json=as_json)


def _reservations(origin: Origin) -> Iterator[str]:
    """What to know of baselines before one relies on finding them again."""
    if not origin.commit:
        seen = f" ({_some(origin.changed)})" if origin.changed else ""
        yield f"the project has changes that no commit has{seen}: only this machine's cache has this baseline"
    elif origin.unknown:
        yield f"git does not have {_some(origin.unknown)}: whoever is to export this baseline again needs it at the same place"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _tell(found: Baselines, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    if not found.baselines:
        click.echo(f"no baselines on {found.target}")
    for one in found.baselines:
        made = f"from {one.revision[:12]}" if one.revision else "from files that no commit has"
        click.echo(f"{one.folder}  sha256 {one.sha256[:12]}  {one.size_bytes / 1e6:.2f} MB  {made}, {one.set_at} by {one.set_by}")
