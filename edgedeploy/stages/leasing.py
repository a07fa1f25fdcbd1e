"""Leases that a person takes and gives back by hand."""

from __future__ import annotations

from typing import Literal

from edgedeploy.deploy.lease import Holder, new_token
from edgedeploy.deploy.lease_keeper import TOKEN_VARIABLE, own_token, this_user
from edgedeploy.domain.events import Note
from edgedeploy.domain.upkeep import LEASE_SCHEMA, LeaseState, UpkeepReport
from edgedeploy.errors import UsageError
from edgedeploy.stages.fleet import Fleet, Visit, on_each


def list_leases(fleet: Fleet) -> UpkeepReport[LeaseState]:
    """Who has which device."""

    def look(at: Visit) -> LeaseState:
        holder = at.leases().holder()
        return _state("held", holder) if holder else LeaseState(state="free")

    return on_each(fleet, LEASE_SCHEMA, look)


def take_leases(fleet: Fleet, *, for_s: int, purpose: str) -> UpkeepReport[LeaseState]:
    """Take the devices for so long, all by one token; nobody renews it.

    What ``$EDGEDEPLOY_LEASE`` holds already is prolonged: ``for_s`` from now on.
    """
    earlier = own_token()
    token = earlier or new_token()
    owner = this_user()

    def take(at: Visit) -> LeaseState:
        told: list[Holder] = []

        def waiting(holder: Holder) -> None:
            if not told:
                fleet.sink(Note(text=f"{at.device.name}: waiting for {holder.owner}, {holder.purpose}"))
            told.append(holder)

        leases = at.leases()
        number = leases.take(
            token=token, owner=owner, purpose=purpose, ttl_s=for_s, wait_s=fleet.patience.wait_s, waiting=waiting
        )
        if earlier:
            leases.renew(number, token=token, owner=owner, purpose=purpose, ttl_s=for_s)
        return LeaseState(state="taken", owner=owner, purpose=purpose, left_s=for_s, token=token)

    return on_each(fleet, LEASE_SCHEMA, take)


def release_leases(fleet: Fleet, *, force: bool = False) -> UpkeepReport[LeaseState]:
    """Give back what ``$EDGEDEPLOY_LEASE`` holds; with ``force``, whosever it is.

    Raises:
        UsageError: it is not set, and ``force`` neither.
    """
    token = own_token()
    if not token and not force:
        raise UsageError(
            "no lease of yours is known",
            seen=f"{TOKEN_VARIABLE} is not set",
            next_step="set it to what `edgedeploy lease take` printed, or release somebody else's with --force",
        )

    def release(at: Visit) -> LeaseState:
        leases = at.leases()
        holder = leases.holder()
        if holder is None:
            return LeaseState(state="free")
        if not leases.release("" if force else token):
            raise UsageError(
                f"{at.device.name} is not yours to release: {holder.owner or 'somebody'} has it",
                where=f"device {at.device.name}",
                seen=f"{holder.purpose or 'a lease'}; free in {holder.left_s} s unless it is renewed",
                next_step="--force releases it all the same; what is going on there then fails",
            )
        return _state("released", holder)

    return on_each(fleet, LEASE_SCHEMA, release)


def _state(state: Literal["held", "released"], holder: Holder) -> LeaseState:
    return LeaseState(state=state, owner=holder.owner, purpose=holder.purpose, left_s=holder.left_s)
