"""Several devices, worked on at once between pushes; what fails on one fails on no other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from edgedeploy import __version__
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.lease_keeper import claim
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Sink, ignore
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.project import DEFAULT_PATIENCE, Patience
from edgedeploy.domain.target import Target
from edgedeploy.domain.upkeep import Finding, Outcome, UpkeepReport
from edgedeploy.errors import EdgedeployError
from edgedeploy.fanout import at_once
from edgedeploy.ports import Connection
from edgedeploy.stages.reach import Attempts, Open, leases_of, store_of, trusted_keys_of

F = TypeVar("F", bound=Finding)
_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The devices that a verb is about, and whose releases. ``project`` may be empty where only leases matter."""

    target: Target
    project: str
    devices: tuple[Device, ...]
    patience: Patience = DEFAULT_PATIENCE
    sink: Sink = ignore


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One of the devices, connected; ``another`` opens one more connection to it, for another thread.

    ``got_something_done`` is for what need not be done again after the device went away: it is waited for anew.
    """

    connection: Connection
    device: Device
    fleet: Fleet
    another: Callable[[], AbstractContextManager[Connection]]
    got_something_done: Callable[[], None]

    def store(self) -> Store:
        """Its store, looked at now."""
        return store_of(self.connection, self.device, self.fleet.target, self.fleet.project)

    def leases(self) -> Leases:
        """Its leases."""
        return leases_of(self.connection, self.device, self.fleet.target)

    @property
    def trusted_keys(self) -> tuple[str, ...]:
        """Whose signatures the device demands; empty where it demands none."""
        return trusted_keys_of(self.device, self.fleet.target)


def on_each(fleet: Fleet, schema: str, work: Callable[[Visit], F], *, lease_for: str = "") -> UpkeepReport[F]:
    """Do ``work`` on every device at once; with ``lease_for``, a purpose, while each one is leased.

    It is begun anew on a device that went away and came back, so it has to bear that.
    """
    opened = Open()

    def once(device: Device, attempts: Attempts) -> F:
        with opened.connection(device) as connection:
            at = Visit(
                connection=connection,
                device=device,
                fleet=fleet,
                another=partial(opened.connection, device),
                got_something_done=attempts.got_something_done,
            )
            if not lease_for:
                return work(at)
            claimed = claim(lease_for, wait_s=fleet.patience.wait_s)
            with opened.lease(connection, device, fleet.target, claimed, fleet.sink):
                return work(at)

    def visit(device: Device) -> Outcome[F]:
        attempts = Attempts(device, opened, fleet.sink, retry_for_s=fleet.patience.retry_for_s)
        while True:
            try:
                return Outcome(device=device.name, found=once(device, attempts))
            except EdgedeployError as error:
                try:
                    attempts.wait_after(error)
                except EdgedeployError as final:
                    return Outcome(device=device.name, error=Failure.of(final))

    outcomes = at_once([partial(visit, device) for device in fleet.devices], limit=_AT_ONCE, stop=opened.close_all)
    return UpkeepReport(schema=schema, edgedeploy=__version__, target=fleet.target.name, project=fleet.project, devices=outcomes)
