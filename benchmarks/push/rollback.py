"""How long does it take to be back at the release before?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commands import push
from rigs import Rig
from series import Found, timed

from edgedeploy import registry
from edgedeploy.deploy.store import Store


def rollback(rigs: Sequence[Rig], bundles: tuple[Path, Path], rounds: int) -> Found:
    """Opening the store and switching, over a connection that is there."""
    found = Found()
    for rig in rigs:
        for bundle in bundles:
            push(bundle, [rig])
        connection = registry.transport(rig.device.transport).connect(rig.device)
        name = f"rollback over {rig.name}"

        def back(rig: Rig = rig) -> int:
            return Store(connection, device=rig.device.name, workdir=rig.workdir, project="bench").roll_back()  # noqa: B023

        try:
            found.samples[name] = [timed(back) for _ in range(rounds)]
        finally:
            connection.close()
        found.figures[f"{name}, slowest s"] = max(found.samples[name])
        found.words.append(f"{name} {max(found.samples[name]):.2f} s at most")
        rig.empty()
    return found
