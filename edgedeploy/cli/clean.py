"""``edgedeploy clean``."""

from __future__ import annotations

import click

from edgedeploy.cli.fleet import Request, fleet_options
from edgedeploy.errors import UsageError


@click.command()
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the N newest releases (default: 1). The current one and the one before are always kept.",
)
@click.option("--all", "whole_project", is_flag=True, help="Remove the whole project from the devices, the current release too.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@fleet_options("What was pushed from this bundle, instead of a project.")
def clean(request: Request, *, keep: int | None, whole_project: bool, dry_run: bool) -> None:
    """Remove from devices what nobody needs any more.

    That is: the project's older releases, files that no release of any project uses, transfers that were cut off. A push
    clears away older releases by itself (keep_releases in edgedeploy.toml).
    """
    from edgedeploy.deploy.retention import KEPT_BY_CLEAN
    from edgedeploy.report.upkeep import print_cleaned
    from edgedeploy.stages import upkeep

    if keep is not None and whole_project:
        raise UsageError("--keep does not go with --all", next_step="--all keeps nothing of the project; give one of them")
    with request.fleet() as fleet:
        report = upkeep.clean(fleet, keep=keep or KEPT_BY_CLEAN, whole_project=whole_project, dry_run=dry_run)
    request.tell(report, print_cleaned)
