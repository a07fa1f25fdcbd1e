"""The circumstances of a run as rows of text: what the device is, and how it was before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from edgedeploy.domain.conditions import During, FixedClock, Start
from edgedeploy.domain.measurement import Core, DeviceFacts, Environment
from edgedeploy.report import units


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that a run may change."""

    name: str
    before: str
    after: str


class CoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """A processor before and after."""

    index: int
    governor: str
    greatest: str
    before: str
    after: str
    meanwhile: str = ""


def identity(environment: Environment) -> tuple[tuple[str, str], ...]:
    """Name and value of what does not change during a run; what the device did not say is left out."""
    facts = environment.before
    cpus = ", ".join(map(str, environment.cpus))
    rows = (
        ("runner", environment.runner),
        ("engine", f"{environment.engine} {environment.engine_version}"),
        ("threads", str(environment.threads)),
        ("processors allowed", cpus or None),
        ("clock", f"{environment.clock}, resolution {units.duration(environment.clock_resolution_ns)}"),
        ("measured from", environment.host),
        ("device", facts.model),
        ("chip", facts.soc),
        ("ABI", facts.abi),
        ("system", f"{facts.os} {facts.os_version or ''}".strip()),
        ("build", facts.os_build),
        ("kernel", facts.kernel),
        ("memory", units.size(facts.memory_total_bytes) if facts.memory_total_bytes is not None else None),
    )
    return tuple((name, value) for name, value in rows if value) + tuple(sorted(facts.properties.items()))


def meanwhile(environment: Environment) -> tuple[tuple[str, str], ...]:
    """Name and value of what was seen beside the runner."""
    during = environment.during
    if during is None or not during.samples:
        return beforehand(environment.fixed_clock, environment.start)
    rows = (
        ("hottest meanwhile", f"{units.celsius(during.hottest_c)}, {during.zone}" if during.zone else None),
        ("load by others meanwhile", f"{during.others:.2f} processors in the median" if during.others is not None else None),
        ("looked at", f"{len(during.samples)} times" + (f", for {during.cost:.1%} of a processor" if during.cost else "")),
    )
    told = beforehand(environment.fixed_clock, environment.start)
    return told + tuple((name, value) for name, value in rows if value)


def beforehand(clock: FixedClock | None, start: Start | None) -> tuple[tuple[str, str], ...]:
    """Name and value of what was done with the device before it was measured."""
    return _held(clock) + _start(start)


def _held(clock: FixedClock | None) -> tuple[tuple[str, str], ...]:
    if clock is None:
        return ()
    rows = [("fixed clock", clock.how or f"no: {clock.refused}")]
    return (*rows, *(("clock not given back", text) for text in clock.left))


def _start(start: Start | None) -> tuple[tuple[str, str], ...]:
    if start is None:
        return ()
    return (("waited for", f"{start.waited_s:.0f} s; {', '.join(start.unmet) or 'then it was ready'}"),)


def changes(environment: Environment) -> tuple[Change, ...]:
    """What may change during a run, where the device said it at least once."""
    before, after = dict(_state(environment.before)), dict(_state(environment.after))
    names = dict.fromkeys((*before, *after))
    rows = (Change(name=name, before=before.get(name, ""), after=after.get(name, "")) for name in names)
    return tuple(row for row in rows if row.before or row.after)


def cores(environment: Environment) -> tuple[CoreRow, ...]:
    """Every processor that either state names; none when nothing but their numbers is known."""
    before = {core.index: core for core in environment.before.cores}
    after = {core.index: core for core in environment.after.cores}
    if all(core == Core(index=core.index) for core in (*before.values(), *after.values())):
        return ()
    rows = []
    for index in sorted(before.keys() | after.keys()):
        first, last = before.get(index, Core(index=index)), after.get(index, Core(index=index))
        governors = dict.fromkeys(name for name in (first.governor, last.governor) if name)
        rows.append(
            CoreRow(
                index=index,
                governor=" → ".join(governors) or units.ABSENT,
                greatest=units.clock(first.max_hz if first.max_hz is not None else last.max_hz),
                before=units.clock(first.current_hz),
                after=units.clock(last.current_hz),
                meanwhile=_clocks(environment.during, index),
            )
        )
    return tuple(rows)


def _clocks(during: During | None, cpu: int) -> str:
    """``1.20 GHz to 2.91 GHz``; empty for a processor that was not watched."""
    seen = during.clock_range_hz(cpu) if during is not None and cpu in during.cpus else None
    if during is None or seen is None:
        return ""
    slowest, fastest = units.clock(seen[0]), units.clock(seen[1])
    return slowest if slowest == fastest else f"{slowest} to {fastest}"


def _state(facts: DeviceFacts) -> Iterator[tuple[str, str]]:
    for zone, celsius in sorted(facts.temperatures_c.items()):
        yield f"temperature, {zone}", units.celsius(celsius)
    if facts.thermal_status is not None:
        yield "thermal status", facts.thermal_status
    if facts.throttled is not None:
        yield "throttled", "yes" if facts.throttled else "no"
    if facts.throttle_count is not None:
        yield "times throttled since its start", str(facts.throttle_count)
    if facts.memory_available_bytes is not None:
        yield "memory available", units.size(facts.memory_available_bytes)
    if facts.storage_free_bytes is not None:
        yield "storage free", units.size(facts.storage_free_bytes)
    if facts.load_average_1m is not None:
        yield "load average, 1 min", f"{facts.load_average_1m:.2f}"
    yield from _power(facts)


def _power(facts: DeviceFacts) -> Iterator[tuple[str, str]]:
    if facts.battery_percent is not None:
        yield "battery", f"{facts.battery_percent} %{_charging(facts)}"
    if facts.plugged is not None:
        yield "power from outside", "yes" if facts.plugged else "no"
    if facts.battery_saver is not None:
        yield "battery saver", "on" if facts.battery_saver else "off"


def _charging(facts: DeviceFacts) -> str:
    return {True: ", charging", False: ", discharging", None: ""}[facts.battery_charging]
