"""``edgedeploy schema``."""

from __future__ import annotations

import click


@click.command()
@click.argument("kind", type=click.Choice(["project", "lab", "target", "push", "plan"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of a file edgedeploy reads (project, lab, target) or of what --json prints (push, plan).

    The first three also lie in the package, in edgedeploy/config/schemas, for editors that take a path.
    """
    from edgedeploy.config.schema import schema_of

    click.echo(schema_of(kind))
