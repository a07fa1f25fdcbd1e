"""Watches a device while programs run on it: how hot, how fast and how busy it is meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from edgedeploy.domain.conditions import During
from edgedeploy.ports import Connection
from edgedeploy.probes.sampler import parse_watched, watched
from edgedeploy.stages.beside import Beside


class Watching(Beside):
    """A connection whose programs are watched, by a loop that writes into the folder ``scratch`` of the device."""

    def __init__(self, connection: Connection, scratch: str, cpus: Sequence[int], *, name: str = "conditions") -> None:
        file, watched_cpus = f"{scratch}/{name}.txt", tuple(cpus)
        super().__init__(connection, file, lambda argv, _limit_s: watched(argv, file, watched_cpus))

    def seen(self) -> During:
        """What was seen beside all programs so far. A device that cannot be watched says nothing.

        Raises:
            DeviceLostError: the device went away.
        """
        return parse_watched(self.written())
