"""How a device was while something was measured on it, and what it was waited for before."""

from __future__ import annotations

from statistics import median

import msgspec


class FixedClock(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the clock was held during a measurement, and ``how``; where it was not, ``refused`` says why.

    ``left`` says what is not as it was found; empty: all was given back.
    """

    how: str = ""
    refused: str = ""
    left: tuple[str, ...] = ()


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What was waited for before a measurement, and how the device was when it began.

    ``unmet`` says in words what was not as it should be when the time for waiting was over; empty: all was well. ``unknown``
    names what was asked for and is not told there. ``load`` is how many processors were at work, over a second.
    """

    waited_s: float
    unmet: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    hottest_c: float | None = None
    load: float | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The device at one moment, ``at_s`` after the first one. None: not told.

    ``hottest_c`` is the greatest of its temperatures. ``clocks_hz`` and ``limits_hz`` have one entry per processor of
    :attr:`During.cpus`: how fast it ran, and the most that it was allowed. ``busy`` is how many processors were at work since the
    sample before, ``own`` how many of them for the runner.
    """

    at_s: float
    hottest_c: float | None = None
    clocks_hz: tuple[int | None, ...] = ()
    limits_hz: tuple[int | None, ...] = ()
    busy: float | None = None
    own: float | None = None

    @property
    def others(self) -> float | None:
        """How many processors worked for something else."""
        return None if self.busy is None or self.own is None else max(0.0, self.busy - self.own)


class During(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen beside the runner's processes. ``zone`` is where it was hottest.

    ``began_uptime_s`` is how long the device had been up at the first of them. ``cost`` is the share of one processor that
    looking took. ``unavailable`` names what the device did not tell.
    """

    samples: tuple[Sample, ...] = ()
    cpus: tuple[int, ...] = ()
    zone: str | None = None
    began_uptime_s: float | None = None
    cost: float | None = None
    unavailable: tuple[str, ...] = ()

    @property
    def hottest_c(self) -> float | None:
        """The greatest temperature of all samples."""
        return max((sample.hottest_c for sample in self.samples if sample.hottest_c is not None), default=None)

    @property
    def others(self) -> float | None:
        """How many processors worked for something else, in the median."""
        seen = [sample.others for sample in self.samples if sample.others is not None]
        return median(seen) if seen else None

    def clock_range_hz(self, cpu: int) -> tuple[int, int] | None:
        """The slowest and the fastest at which a processor was seen."""
        at = self.cpus.index(cpu)
        seen = [hz for sample in self.samples if (hz := _at(sample.clocks_hz, at)) is not None]
        return (min(seen), max(seen)) if seen else None

    def least_limit_hz(self, cpu: int) -> int | None:
        """The least that a processor was allowed."""
        at = self.cpus.index(cpu)
        return min((hz for sample in self.samples if (hz := _at(sample.limits_hz, at)) is not None), default=None)


def _at(values: tuple[int | None, ...], at: int) -> int | None:
    return values[at] if at < len(values) else None
