"""``edgedeploy schema``."""

from __future__ import annotations

import click

# As edgedeploy.config.schema has them; that module is imported when one is asked for.
_READ = ("project", "lab", "target")
_PRINTED = ("push", "plan", "compare", "history", "releases", "rollback", "verify", "clean", "lease")


@click.command()
@click.argument("kind", type=click.Choice([*_READ, *_PRINTED]))
def schema(kind: str) -> None:
    """Print the JSON Schema of a file edgedeploy reads (project, lab, target) or of what a verb prints with --json.

    The first three also lie in the package, in edgedeploy/config/schemas, for editors that take a path.
    """
    from edgedeploy.config.schema import schema_of

    click.echo(schema_of(kind))
