"""``edgedeploy verify``."""

from __future__ import annotations

import click

from edgedeploy.cli.fleet import Request, fleet_options


@click.command()
@click.option("--all", "everything", is_flag=True, help="Every file of every release and project, not the current release only.")
@click.option("--dry-run", is_flag=True, help="Only say what is damaged; remove nothing.")
@fleet_options("What was pushed from this bundle, instead of a project.")
def verify(request: Request, *, everything: bool, dry_run: bool) -> None:
    """Hash what lies on devices: is it still what was pushed?

    A damaged file is removed, so that nothing runs it; the next push sends it again, and nothing else. Exit code 6 when
    something is damaged or missing.
    """
    from edgedeploy.report.upkeep import print_verified
    from edgedeploy.stages.upkeep import verify_files

    with request.fleet() as fleet:
        report = verify_files(fleet, everything=everything, dry_run=dry_run)
    request.tell(report, print_verified)
