"""``edgedeploy lease``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.fleet import Request, fleet_options

if TYPE_CHECKING:
    from edgedeploy.domain.upkeep import LeaseState, UpkeepReport

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_BUNDLE = "Of the target of this bundle."


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """``90s``, ``30m``, ``2h``."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smh])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no duration; write 90s, 30m or 2h")
    return int(found[1]) * _SECONDS[found[2]]


@click.group()
def lease() -> None:
    """Show who has which device; take one for yourself, give it back.

    A push takes each device while it works there, and so does whatever else changes something on it. A lease taken by hand
    keeps a device for longer: to look at it, to measure several things in a row.
    """


@lease.command("list")
@fleet_options(_BUNDLE)
def show(request: Request) -> None:
    """Show who has which device, what for, and how long."""
    from edgedeploy.report.upkeep import print_leases
    from edgedeploy.stages.leasing import list_leases

    with request.fleet(of_a_project=False) as fleet:
        report = list_leases(fleet)
    request.tell(report, print_leases)


@lease.command()
@click.option(
    "--for", "for_s", callback=_seconds, default="30m", show_default=True, metavar="TIME", help="How long: 90s, 30m, 2h."
)
@click.option("--purpose", default="taken by hand", show_default=True, metavar="TEXT", help="What others are told.")
@fleet_options(_BUNDLE)
def take(request: Request, *, for_s: int, purpose: str) -> None:
    """Take devices for yourself.

    What is printed on stdout sets EDGEDEPLOY_LEASE, by which your own pushes use the lease: eval "$(edgedeploy lease take …)".
    Nobody renews it: it ends by itself. Taken again with the variable set, it is prolonged.
    """
    from edgedeploy.stages.leasing import take_leases

    with request.fleet(of_a_project=False) as fleet:
        report = take_leases(fleet, for_s=for_s, purpose=purpose)
    request.tell(report, _print_taken)


@lease.command()
@click.option("--force", is_flag=True, help="Somebody else's, too; what is going on there then fails.")
@fleet_options(_BUNDLE)
def release(request: Request, *, force: bool) -> None:
    """Give devices back: those of the lease that EDGEDEPLOY_LEASE names."""
    from edgedeploy.report.upkeep import print_leases
    from edgedeploy.stages.leasing import release_leases

    with request.fleet(of_a_project=False) as fleet:
        report = release_leases(fleet, force=force)
    request.tell(report, print_leases)


def _print_taken(report: UpkeepReport[LeaseState]) -> None:
    """For the eye on stderr, for the shell on stdout."""
    from rich.console import Console

    from edgedeploy.deploy.lease_keeper import TOKEN_VARIABLE
    from edgedeploy.report.upkeep import print_leases

    print_leases(report, Console(stderr=True))
    for token in {outcome.found.token for outcome in report.devices if outcome.found is not None}:
        click.echo(f"export {TOKEN_VARIABLE}={token}")
