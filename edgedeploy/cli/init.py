"""``edgedeploy init``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="[DIR]")
@click.option("--name", default="", metavar="NAME", help="The project's name (default: the folder's).")
@click.option("--force", is_flag=True, help="Overwrite files that are there already.")
def init(folder: Path, name: str, *, force: bool) -> None:
    """Write a project into DIR: edgedeploy.toml, a model, a Makefile include, a CI workflow.

    It runs as it is: `edgedeploy push --target this-machine`.
    """
    from edgedeploy.scaffold import scaffold

    for file in scaffold(folder, name=name, force=force):
        click.echo(file)
    enter = "" if folder.absolute() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"next: {enter}edgedeploy push --target this-machine", err=True)
