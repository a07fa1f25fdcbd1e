"""Why a latency that is too great may be the device's doing on this occasion, and not the model's. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.measurement import DeviceFacts, Environment

_SINCE_START = range(16, 20)  # of a Raspberry Pi's get_throttled: what has happened since it started
_LIMIT_DROP = 0.99


def excuse_of(environment: Environment) -> str:
    """What speaks for measuring again under better conditions, in words; empty when nothing does."""
    return "; ".join(_excuses(environment))


def _excuses(environment: Environment) -> Iterator[str]:
    before, after, start = environment.before, environment.after, environment.start
    if start is not None and start.unmet:
        yield f"the device was not ready when it began: {', '.join(start.unmet)}"
    if before.throttled or after.throttled:
        yield "the device was throttled; let it cool down"
    elif meanwhile := _throttled_meanwhile(environment):
        yield f"{meanwhile}; let it cool down"


def _throttled_meanwhile(environment: Environment) -> str:
    before, after, during = environment.before, environment.after, environment.during
    if before.throttle_count is not None and after.throttle_count is not None and after.throttle_count > before.throttle_count:
        return "its processors became too hot meanwhile"
    if any(_bits(after) >> bit & 1 and not _bits(before) >> bit & 1 for bit in _SINCE_START):
        return "the device was throttled meanwhile"
    allowed_hz = {core.index: core.limit_hz for core in before.cores}
    for cpu in during.cpus if during is not None else ():
        least_hz, allowed = during.least_limit_hz(cpu) if during is not None else None, allowed_hz.get(cpu)
        if least_hz is not None and allowed is not None and least_hz < _LIMIT_DROP * allowed:
            return f"processor {cpu} was held to {least_hz / 1e9:.2f} GHz meanwhile, {allowed / 1e9:.2f} GHz before"
    return ""


def _bits(facts: DeviceFacts) -> int:
    """Of a Raspberry Pi's firmware; 0 for everything else."""
    return int(facts.properties.get("vcgencmd.get_throttled", "0"), 16)
