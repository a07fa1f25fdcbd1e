"""What the modes of measuring give besides latencies. All of it can be computed again from the samples that are kept."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.estimate import Estimate


class BurstFigures(msgspec.Struct, frozen=True, kw_only=True, tag="burst"):
    """Bursts after a rest, those of one process after the other's.

    ``place_p50_ns`` has the median of the first invocation of a burst, of the second, and so on. ``burst_p50_ns`` and
    ``burst_p90_ns`` are of whole bursts: the sums of their latencies.
    """

    bursts: int
    invocations: int
    idle_s: float
    place_p50_ns: tuple[int, ...]
    burst_p50_ns: int
    burst_p90_ns: int


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a sustained run: ``iterations`` from ``at_s`` on, and the median of the ``kept`` ones of them.

    The rest is how the device was then; None where it did not say. ``clock_hz`` is that of the fastest processor in use, and
    ``limit_hz`` the most that it was allowed; ``others`` how many processors worked for something else.
    """

    at_s: float
    iterations: int
    kept: int
    p50_ns: int
    hottest_c: float | None = None
    clock_hz: int | None = None
    limit_hz: int | None = None
    others: float | None = None


class SustainedFigures(msgspec.Struct, frozen=True, kw_only=True, tag="sustained"):
    """Minutes without a pause. ``first_p50_ns`` is the median of the first tenth (a minute at most), ``last_p50_ns`` of the last.

    ``slower_after_s`` is when latencies became greater than the first by ``slowdown`` and stayed so to the end; None: they did
    not. ``signs`` says in words what the device told that speaks for throttling, or for something else; empty: it told nothing.
    """

    seconds: float
    windows: tuple[Window, ...]
    slowdown: float
    first_p50_ns: int
    last_p50_ns: int
    slower_after_s: float | None
    signs: tuple[str, ...] = ()


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution in a few figures, in nanoseconds."""

    least: int
    p50: int
    p90: int
    most: int


class ColdFigures(msgspec.Struct, frozen=True, kw_only=True, tag="cold"):
    """Fresh processes whose model was taken out of the page cache before.

    ``until_first_ns`` is load and first inference together. ``cached`` has the share of each model file that was there all the
    same; None: the device did not say. ``dropped``: all files were taken out, as root; else ``not_dropped`` says why not.
    """

    starts: int
    load_ns: Spread
    first_inference_ns: Spread
    until_first_ns: Spread
    cached: tuple[float | None, ...]
    dropped: bool
    not_dropped: str = ""


class ThroughputFigures(msgspec.Struct, frozen=True, kw_only=True, tag="throughput"):
    """``instances`` processes at once, several times; ``per_second`` is of all of them together.

    ``instance_p50_ns`` has the median latency of each instance of each time, one time after the other.
    """

    instances: int
    seconds: float
    per_second: Estimate
    instance_p50_ns: tuple[int, ...]


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """The geometric mean of the pairs' ratios, and the interval that has the true one in 95 of 100 cases."""

    ratio: float
    ci_low: float
    ci_high: float


class ConcurrentFigures(msgspec.Struct, frozen=True, kw_only=True, tag="concurrent"):
    """Latency beside a load to latency without, from ``pairs`` of processes in the same session.

    ``quiet_ns`` has every latency of the processes without, pair by pair. ``load`` says what the load was, ``others`` how many
    processors worked for it and everything else; None: the device did not say.
    """

    load: str
    pairs: int
    p50: Ratio
    p90: Ratio
    quiet_p50_ns: int
    quiet_ns: tuple[tuple[int, ...], ...]
    others: float | None = None
    others_quiet: float | None = None


ModeFigures = BurstFigures | SustainedFigures | ColdFigures | ThroughputFigures | ConcurrentFigures
