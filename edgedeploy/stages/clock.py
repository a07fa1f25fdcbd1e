"""A connection on which programs run at a fixed clock, where the policy asks for it and the device lets us."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from edgedeploy.domain.conditions import FixedClock
from edgedeploy.domain.events import Note, Sink
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import Connection
from edgedeploy.probes.clock import clocked, parse_clocked
from edgedeploy.stages.beside import Beside


class Clock(Beside):
    """The same connection, with the clock held for each program and given back after it.

    ``scratch`` is a folder ``<workdir>/runs/<id>`` of the
    device: what was found is written down in ``<workdir>/clock``, for a later run to give back what a power cut has kept this
    one from giving back.
    """

    def __init__(self, connection: Connection, scratch: str, policy: MeasurePolicy) -> None:
        log, state = f"{scratch}/clock.txt", f"{PurePosixPath(scratch).parent.parent}/clock"
        self._wish = policy.fixed_clock

        def wrap(argv: Sequence[str], limit_s: float) -> list[str]:
            if not policy.fixed_clock:
                return list(argv)
            return clocked(argv, log, state=state, wish=policy.fixed_clock, cpus=policy.cpus, limit_s=int(limit_s) + 1)

        super().__init__(connection, log, wrap)

    def said(self, sink: Sink, device: str) -> FixedClock | None:
        """What was done for all programs so far; None where nothing was asked for. What did not work is told to ``sink``, too.

        Raises:
            DeviceLostError: the device went away.
        """
        if not self._wish:
            return None
        found = parse_clocked(self.written(), self._wish)
        if found.refused:
            sink(Note(text=f"{device}: the clock is not fixed: {found.refused}", level="warning"))
        for text in found.left:
            sink(Note(text=f"{device}: the clock is not as it was found: {text}", level="warning"))
        return found
