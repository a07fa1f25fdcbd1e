"""Energy: passes of the runner for nothing else, each right after as long a rest, so that no latency is coloured by it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edgedeploy.domain.energy import Energy
from edgedeploy.domain.events import Progress, Sink
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError
from edgedeploy.ports import Connection
from edgedeploy.probes.meters import Series, metered, parse_metered
from edgedeploy.stages.beside import Beside
from edgedeploy.stages.host_meter import HostMeter
from edgedeploy.stats.power import mean_power_w, resolution_w, within
from edgedeploy.stats.repetitions import estimate

_REPETITIONS = 3
_EDGE_S = 1.0  # a process begins to load, and a look comes up to half a second late
_REST_LIMIT_S = 60.0
_MOST_ITERATIONS = 10_000_000
Run = Callable[[Connection, MeasurePolicy], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class _Repetition:
    """A rest and a pass, by one instrument: watts of both, seconds per iteration, and the instrument's smallest step in watts."""

    rest_w: float
    active_w: float
    iteration_s: float
    resolution_w: float


class EnergyPass:
    """Measures the energy of an artifact. ``run`` starts its runner over a connection, and returns its latencies in ns."""

    def __init__(
        self,
        connection: Connection,
        scratch: str,
        policy: MeasurePolicy,
        run: Run,
        sink: Sink,
        subject: str,
        *,
        has_no_shell: bool = False,
    ) -> None:
        self._connection = connection
        self._scratch = scratch
        self._policy = policy
        self._run = run
        self._sink = sink
        self._subject = subject
        self._has_no_shell = has_no_shell

    def measure(self, latency_ns: int) -> Energy | None:
        """The energy of an iteration that takes about ``latency_ns``; None where it was not asked for.

        Raises:
            DeviceLostError: the device went away.
        """
        if not self._policy.energy_s:
            return None
        if self._has_no_shell and not self._policy.energy_command:
            return Energy(absent="an iPhone tells no other program its power: measure it by an energy_command")
        iterations = min(_MOST_ITERATIONS, math.ceil(1.5e9 * self._policy.energy_s / max(latency_ns, 1)))
        policy = msgspec.structs.replace(self._policy, iterations=iterations, max_seconds=self._policy.energy_s)
        found: list[_Repetition] = []
        source = ""
        for number in range(_REPETITIONS):
            text = f"energy, {2 * self._policy.energy_s:.0f} s each"
            self._sink(Progress(stage="measure", subject=self._subject, done=number, total=_REPETITIONS, text=text))
            try:
                rest, reason = self._metered(f"rest{number}", self._rest)
                if not rest:
                    return Energy(absent=reason or "no instrument of the device tells its power")
                active, reason = self._metered(f"active{number}", lambda to: self._run(to, policy))
            except RunnerError as error:  # the samples are there; what they cost is not worth losing them
                return Energy(absent=f"the runner failed in the pass for energy: {error.seen or error.what}")
            repetition = _repetition(rest, active)
            if isinstance(repetition, str):
                return Energy(absent=reason or repetition)
            source = active[0].source if active else ""
            found.append(repetition)
        return _figures(source, found)

    def _rest(self, connection: Connection) -> tuple[int, ...]:
        seconds = self._policy.energy_s + _EDGE_S
        if self._policy.energy_command:
            time.sleep(seconds)
            return (round(self._policy.energy_s * 1e9),)
        connection.run(["sleep", f"{math.ceil(seconds)}"], timeout_s=seconds + _REST_LIMIT_S)
        return (round(self._policy.energy_s * 1e9),)

    def _metered(self, name: str, work: Callable[[Connection], tuple[int, ...]]) -> tuple[list[_Span], str]:
        """What each instrument said while the last iterations of ``work`` ran; and why there is none where there is none."""
        file = f"{self._scratch}/{name}.txt"
        beside = Beside(self._connection, file, lambda argv, _limit_s: metered(argv, file))
        if self._policy.energy_command:
            with HostMeter(self._policy.energy_command) as meter:
                latency_ns = work(self._connection)
            series, reason = meter.series()
        else:
            latency_ns = work(beside)
            series, reason = parse_metered(beside.written())
        spans = [_span(one, latency_ns) for one in series]
        return spans, reason


@dataclass(frozen=True, kw_only=True)
class _Span:
    """What an instrument said in the time of the iterations."""

    source: str
    counts: bool
    points: tuple[tuple[float, float], ...]
    iteration_s: float


def _span(series: Series, latency_ns: tuple[int, ...]) -> _Span:
    seconds = sum(latency_ns) / 1e9
    points = within(series.points, max(0.0, seconds - _EDGE_S))
    return _Span(source=series.source, counts=series.counts, points=points, iteration_s=seconds / max(len(latency_ns), 1))


def _repetition(rest: list[_Span], active: list[_Span]) -> _Repetition | str:
    """By the best instrument of both; where there is no figure, why."""
    if not active or active[0].source != rest[0].source:
        return "no instrument told its power at rest and at work"
    before, now = rest[0], active[0]
    rest_w, active_w = mean_power_w(before.points, counts=before.counts), mean_power_w(now.points, counts=now.counts)
    if rest_w is None or active_w is None:
        return f"{now.source}: too few readings; give energy_s more seconds, or a language model a longer answer"
    if not now.counts and len({watts for _, watts in (*before.points, *now.points)}) == 1:
        return f"{now.source}: its reading never changed"
    steps = [resolution_w(span.points, counts=span.counts) for span in (before, now)]
    return _Repetition(
        rest_w=rest_w,
        active_w=active_w,
        iteration_s=now.iteration_s,
        resolution_w=max(steps),
    )


def _figures(source: str, found: list[_Repetition]) -> Energy:
    step_w = max(one.resolution_w for one in found)
    iteration_s = max(one.iteration_s for one in found)
    return Energy(
        source=source,
        rest_mw=estimate([1e3 * one.rest_w for one in found], resolution=1e3 * step_w),
        active_mw=estimate([1e3 * one.active_w for one in found], resolution=1e3 * step_w),
        per_iteration_mj=estimate(
            [1e3 * (one.active_w - one.rest_w) * one.iteration_s for one in found],
            resolution=1e3 * step_w * math.sqrt(2) * iteration_s,  # of a difference of two readings
        ),
    )
