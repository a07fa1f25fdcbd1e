"""What a run does not know. A report that leaves a gap out looks as if nothing were missing."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.result import RunResult


def not_measured(run: RunResult) -> tuple[str, ...]:
    """Everything a whole run would have and this one has not, in plain words."""
    return tuple(_of_the_run(run)) + tuple(_of_the_device(run))


def _of_the_run(run: RunResult) -> Iterator[str]:
    if run.artifact is None:
        yield "the exported file"
    if run.verify.host is None:
        yield "agreement with PyTorch on this computer"
    if run.verify.device is None:
        yield "agreement with PyTorch on the device"
    if run.latency_ns is None:
        yield "latency"
    if run.load_ns is None:
        yield "load time"
    elif run.load_cold_ns is None and run.mode == "single":
        yield "cold load time"
    if run.energy is not None and run.energy.absent:
        yield f"energy: {run.energy.absent}"
    if run.peak_rss_bytes is None:
        yield "peak memory"
    if run.device_sha256 is None:
        yield "which file the device really ran"


def _of_the_device(run: RunResult) -> Iterator[str]:
    if run.environment is None:
        yield "the circumstances on the device"
        return
    before, after = run.environment.before, run.environment.after
    states = (("before", before), ("after", after))
    yield from (f"temperature {when}" for when, facts in states if not facts.temperatures_c)
    yield from (f"clock frequencies {when}" for when, facts in states if not _clocks(facts))
    if not any(core.governor for core in before.cores):
        yield "the frequency governor"
    yield from (f"throttling {when}" for when, facts in states if facts.throttled is None and facts.thermal_status is None)
    if (start := run.environment.start) is not None:
        yield from (f"{what} before the start" for what in start.unknown)
    if (during := run.environment.during) is not None:
        yield from (f"{what} meanwhile" for what in during.unavailable)
    if before.os_build is None and before.kernel is None:
        yield "the build of the operating system"
    if before.os == "android" and before.battery_percent is None:
        yield "the battery"


def _clocks(facts: DeviceFacts) -> bool:
    return any(core.current_hz is not None for core in facts.cores)
