"""``edgedeploy rollback``."""

from __future__ import annotations

import click

from edgedeploy.cli.fleet import Request, fleet_options


@click.command()
@click.option(
    "--to",
    type=click.IntRange(min=1),
    metavar="N",
    help="To this release (default: the one that was current before); `edgedeploy releases` lists them.",
)
@click.option("--dry-run", is_flag=True, help="Say where each device would be switched to; change nothing.")
@fleet_options("What was pushed from this bundle, instead of a project.")
def rollback(request: Request, *, to: int | None, dry_run: bool) -> None:
    """Switch devices back to an earlier release.

    By one rename: nothing is sent. Doing it twice ends where it began.
    """
    from edgedeploy.report.upkeep import print_rollback
    from edgedeploy.stages.upkeep import roll_back

    with request.fleet() as fleet:
        report = roll_back(fleet, to=to, dry_run=dry_run)
    request.tell(report, print_rollback)
