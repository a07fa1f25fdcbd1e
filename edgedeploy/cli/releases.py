"""``edgedeploy releases``."""

from __future__ import annotations

import click

from edgedeploy.cli.fleet import Request, fleet_options


@click.command()
@click.option("--all", "every_project", is_flag=True, help="Those of other projects on the devices, too.")
@fleet_options("Of what was pushed from this bundle, instead of a project.")
def releases(request: Request, *, every_project: bool) -> None:
    """List the releases on devices, and the space that is left.

    "not whole" is a release of which files are gone; whether those that are there are sound, `edgedeploy verify` says.
    """
    from edgedeploy.report.upkeep import print_releases
    from edgedeploy.stages.upkeep import list_releases

    with request.fleet() as fleet:
        report = list_releases(fleet, every_project=every_project)
    request.tell(report, print_releases)
