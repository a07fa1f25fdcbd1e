"""Compare: each two opponents on each device of a target, all devices at once, each leased meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from edgedeploy.cache import Cache
from edgedeploy.deploy.signing import Signer
from edgedeploy.domain.contest import Contest, Contests
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.fleet import Fleet, Visit, on_each
from edgedeploy.stages.push import Terms
from edgedeploy.stages.reach import trusted_keys_of
from edgedeploy.stages.ring import Opponents, Ring, failed_contest


def contest(
    fleet: Fleet, opponents: Sequence[Opponents], rules: Rules, cache: Cache, signer: Signer | None = None
) -> tuple[Contest, ...]:
    """Compare each two opponents on each device of the fleet; a device that fails does not hold up another."""
    finished: dict[tuple[str, int], Contest] = {}  # by device: one that goes away and comes back begins with the others

    def on_one(at: Visit) -> Contests:
        device = at.device.name
        terms = Terms(project=fleet.project, device=device, signer=signer, trusted_keys=trusted_keys_of(at.device, fleet.target))
        host = Aboard(connection=at.connection, device=at.device, target=fleet.target, cache=cache, sink=fleet.sink)
        host.check_abi()
        ring = Ring(host=host, terms=terms, rules=rules, sink=fleet.sink)
        for number, pair in enumerate(opponents):
            if (device, number) not in finished:
                finished[device, number] = ring.contest(pair)
                at.got_something_done()
        return Contests(contests=tuple(finished[device, number] for number in range(len(opponents))))

    report = on_each(fleet, "", on_one, lease_for=f"compare {fleet.project}")
    found: list[Contest] = []
    for outcome in report.devices:
        if outcome.found is not None:
            found += outcome.found.contests
        elif outcome.error is not None:
            found += [
                finished.get((outcome.device, number)) or failed_contest(outcome.device, pair, outcome.error)
                for number, pair in enumerate(opponents)
            ]
    return tuple(found)
