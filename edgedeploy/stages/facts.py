"""Asks a device what it is and how it is at this moment."""

from __future__ import annotations

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.ports import Connection, Probe

_LIMIT_S = 30.0


def facts_of(connection: Connection, probe: Probe, workdir: str) -> DeviceFacts:
    """What the device says about itself now. A probe's command never fails: what is missing is None."""
    done = connection.run(probe.command(workdir), timeout_s=_LIMIT_S)
    return probe.parse(done.stdout.decode(errors="replace"))
