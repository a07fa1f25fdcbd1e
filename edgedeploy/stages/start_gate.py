"""Waits until a device is cool and idle, for a bounded time; then it is measured all the same, and the result says how it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from edgedeploy.domain.conditions import Start
from edgedeploy.domain.events import Note, Progress, Sink
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import RUNNER_APP, Connection, Probe
from edgedeploy.probes.load import LOAD_SCRIPT, parse_load
from edgedeploy.stages.facts import facts_of

_LOAD_LIMIT_S = 30.0
# A chip that was just at work loses degrees per second, and then no more than the case around it: about 1 °C in 10 s on a phone.
# The sensors of a Raspberry Pi have steps of 0.49 °C.
_WINDOW_S = 10.0
_FALL_C = 1.0


class Gate:
    """One device before one measurement. Each look at it takes a second and what its facts take."""

    def __init__(
        self,
        connection: Connection,
        probe: Probe,
        policy: MeasurePolicy,
        sink: Sink,
        subject: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._probe = probe
        self._policy = policy
        self._sink = sink
        self._subject = subject
        self._clock = clock
        self._hottest: list[tuple[float, float]] = []

    def wait(self) -> Start | None:
        """How the device was in the end; None where the policy waits for nothing.

        Raises:
            DeviceLostError: the device went away.
        """
        limit_s = self._policy.start_wait_s
        if not limit_s:
            return None
        began_s = self._clock()
        while True:
            facts = facts_of(self._connection, self._probe, "/")
            load = self._load()
            waited_s = self._clock() - began_s
            found = self._judged(facts, load, waited_s)
            if not found.unmet:
                return found
            if waited_s >= limit_s:
                text = f"{self._subject}: after {waited_s:.0f} s, {', '.join(found.unmet)}; measured all the same"
                self._sink(Note(text=text, level="warning"))
                return found
            text = f"waiting: {', '.join(found.unmet)}"
            self._sink(Progress(stage="measure", subject=self._subject, done=int(waited_s), total=int(limit_s) + 1, text=text))

    def _load(self) -> float | None:
        if self._probe.command("/")[0] == RUNNER_APP:  # an iPhone has no shell
            return None
        done = self._connection.run(["sh", "-c", LOAD_SCRIPT], timeout_s=_LOAD_LIMIT_S)
        return parse_load(done.stdout.decode(errors="replace"))

    def _judged(self, facts: DeviceFacts, load: float | None, waited_s: float) -> Start:
        hottest_c = max(facts.temperatures_c.values(), default=None)
        if hottest_c is not None:
            self._hottest.append((waited_s, hottest_c))
        unknown = (
            ("temperature", hottest_c is None and self._policy.start_temperature_c != "any"),
            ("throttling", facts.throttled is None),
            ("load", load is None),
        )
        return Start(
            waited_s=round(waited_s, 1),
            unmet=tuple(self._unmet(facts, load)),
            unknown=tuple(name for name, is_unknown in unknown if is_unknown),
            hottest_c=hottest_c,
            load=load,
        )

    def _unmet(self, facts: DeviceFacts, load: float | None) -> Iterator[str]:
        if facts.throttled:
            yield f"throttled ({facts.thermal_status})" if facts.thermal_status else "throttled"
        if load is not None and load > self._policy.start_load:
            yield f"{load:.2f} processors are at work, more than {self._policy.start_load:g}"
        wanted = self._policy.start_temperature_c
        if not facts.temperatures_c or wanted == "any":
            return
        zone, hottest_c = max(facts.temperatures_c.items(), key=lambda item: item[1])
        if wanted == "idle":
            if not self._cools_no_further():
                yield f"still cooling down, or not yet known ({zone}: {hottest_c:.1f} °C)"
        elif hottest_c > wanted:
            yield f"{zone} has {hottest_c:.1f} °C, more than {wanted:g} °C"

    def _cools_no_further(self) -> bool:
        """Whether the last ten seconds have brought less than a degree."""
        now_s, now_c = self._hottest[-1]
        before = [celsius for at_s, celsius in self._hottest if at_s <= now_s - _WINDOW_S]
        return bool(before) and before[-1] - now_c < _FALL_C
