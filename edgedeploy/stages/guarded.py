"""A connection whose programs end when nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from edgedeploy.deploy.guard import guarded
from edgedeploy.ports import Connection
from edgedeploy.stages.beside import Beside

_LONGER_S = 60  # than the host waits: who hangs is the host's to tell


class Guarded(Beside):
    """The same connection. ``scratch`` is a folder ``<workdir>/runs/<id>`` of the device."""

    def __init__(self, connection: Connection, scratch: str) -> None:
        leases, log = f"{PurePosixPath(scratch).parent.parent}/leases", f"{scratch}/guard.txt"

        def wrap(argv: Sequence[str], limit_s: float) -> list[str]:
            return guarded(argv, limit_s=int(limit_s) + _LONGER_S, leases=leases, log=log)

        super().__init__(connection, log, wrap)

    def why(self) -> str:
        """Why the guard has ended a program; empty where it has ended none.

        Raises:
            DeviceLostError: the device went away.
        """
        return self.written().partition("\n")[0]
