"""Which units a push goes to: those of the lab file, those found by discovery, this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from edgedeploy import registry
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Note, Sink, ignore
from edgedeploy.domain.target import Target
from edgedeploy.errors import (
    DeviceAbsentError,
    DeviceError,
    DeviceUnavailableError,
    EdgedeployError,
    MissingToolError,
    UsageError,
)
from edgedeploy.suggest import did_you_mean

_PROPERTY_LIMIT_S = 10.0
_AT_ONCE = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Every unit known, with its state now; ``trouble`` says which transports could not look, and why."""

    devices: tuple[Device, ...]
    trouble: dict[str, EdgedeployError]


def take_inventory(lab: Sequence[Device], targets: dict[str, Target], transports: Sequence[str]) -> Inventory:
    """Ask every transport named; units of the lab file keep their names, others are called by their address."""
    trouble: dict[str, EdgedeployError] = {}
    found: list[Device] = []
    for name in transports:
        try:
            found += registry.transport(name).discover()
        except (MissingToolError, DeviceError) as error:  # what other transports find is there all the same
            trouble[name] = error
    known = {(device.transport, device.address) for device in lab}
    strangers = [device for device in found if (device.transport, device.address) not in known]
    able = [device for device in lab if device.transport in transports and device.transport not in trouble]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        states = list(pool.map(_with_state, able))
        named = list(pool.map(lambda device: _recognised(device, targets), strangers))
    return Inventory(devices=(*states, *named), trouble=trouble)


def select(
    target: Target,
    wanted: Sequence[str],
    lab: Sequence[Device],
    targets: dict[str, Target],
    *,
    for_s: float = 0,
    sink: Sink = ignore,
) -> tuple[Device, ...]:
    """The units to push to: those named, or every reachable unit of ``target``; waits ``for_s`` for what may still come.

    Raises:
        UsageError: a name that no unit has, or a unit of another target.
        DeviceUnavailableError: none is reachable, or one that was named is not; with each one's state and the way out.
        MissingToolError: the client program of the only way there is not installed.
    """
    ends_at = time.monotonic() + for_s
    pause_s, told = _FIRST_PAUSE_S, ""
    while True:
        try:
            return _selected(target, wanted, lab, targets)
        except DeviceError as error:
            if not error.retryable or time.monotonic() + pause_s > ends_at:
                raise
            if error.what != told:
                sink(Note(text=f"{error.what}; waiting for it", level="warning"))
                told = error.what
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _selected(target: Target, wanted: Sequence[str], lab: Sequence[Device], targets: dict[str, Target]) -> tuple[Device, ...]:
    if target.os == "ios" and not target.runtimes:  # elsewhere a release can lie there without anything that runs it
        raise UsageError(
            f"nothing that edgedeploy has runs on {target.title}",
            where=f"target {target.name}: runtimes",
            next_step=f"`edgedeploy export --target {target.name}` works; `edgedeploy devices` says what is there",
        )
    for transport in target.transports:
        if transport not in registry.names("transports"):
            raise UsageError(
                f"{target.name} is reached by {transport!r}, and no installed transport does that",
                next_step=f"`edgedeploy export --target {target.name}` works; pushing needs a plug-in with that transport",
            )
    inventory = take_inventory(lab, targets, target.transports)
    units = [
        # This machine is a unit of every target that is reached by the local transport.
        msgspec.structs.replace(device, target=target.name) if device.transport == "local" else device
        for device in inventory.devices
        if device.target == target.name or device.transport == "local"
    ]
    for device in lab:
        if {device.name, device.address} & set(wanted) and device.transport in inventory.trouble:
            raise inventory.trouble[device.transport]
    if wanted:
        return tuple(_named(name, units, inventory, target) for name in dict.fromkeys(wanted))
    ready = tuple(device for device in units if device.state == "ready")
    if ready:
        return ready
    if not units and inventory.trouble:
        raise next(iter(inventory.trouble.values()))
    if len(units) == 1:
        return (_insist(units[0]),)
    states = "; ".join(f"{device.name}: {device.state}, {device.detail}".rstrip(", ") for device in units)
    others = ", ".join(f"{device.name} ({device.target or 'of an unknown kind'})" for device in inventory.devices)
    may_come = not units or any(device.state in {"offline", "unreachable"} for device in units)
    raise (DeviceAbsentError if may_come else DeviceUnavailableError)(
        f"no unit of {target.name} is reachable",
        seen=states or (f"other devices: {others}" if others else "no device at all"),
        next_step="connect one, or add it to lab.toml; `edgedeploy devices` shows what is there",
    )


def _named(name: str, units: Sequence[Device], inventory: Inventory, target: Target) -> Device:
    device = next((unit for unit in units if name in {unit.name, unit.address}), None)
    if device is None:
        other = next((unit for unit in inventory.devices if name in {unit.name, unit.address}), None)
        if other is not None and other.target:
            raise UsageError(f"{name} is a {other.target}, not a {target.name}", where=other.origin)
        if other is not None:
            return msgspec.structs.replace(other, target=target.name)
        if inventory.trouble and not units:
            raise next(iter(inventory.trouble.values()))
        raise UsageError(f"no device named {name!r}", next_step=did_you_mean(name, {unit.name for unit in units}))
    return device if device.state == "ready" else _insist(device)


def _insist(device: Device) -> Device:
    """Connect to a device that is not ready, for the transport's own account of what is wrong and what to do."""
    registry.transport(device.transport).connect(device).close()
    return msgspec.structs.replace(device, state="ready")  # it has come back in the meantime


def _with_state(device: Device) -> Device:
    try:
        return registry.transport(device.transport).state(device)
    except DeviceError as error:
        return msgspec.structs.replace(device, state="unreachable", detail=error.what)


def _recognised(device: Device, targets: dict[str, Target]) -> Device:
    """A discovered phone with the target whose ``match`` its properties satisfy."""
    if device.state != "ready" or device.target:
        return device
    candidates = {name: t for name, t in targets.items() if t.match and device.transport in t.transports}
    keys = sorted({key for target in candidates.values() for key in target.match})
    if not keys:
        return device
    try:
        connection = registry.transport(device.transport).connect(device)
        try:
            script = 'for key; do getprop "$key"; done'
            done = connection.run(["sh", "-c", script, "edgedeploy", *keys], timeout_s=_PROPERTY_LIMIT_S)
        finally:
            connection.close()
    except DeviceError as error:
        return msgspec.structs.replace(device, state="unreachable", detail=error.what)
    values = dict(zip(keys, done.stdout.decode(errors="replace").splitlines(), strict=False))
    for name, target in candidates.items():
        if all(values.get(key) in allowed for key, allowed in target.match.items()):
            return msgspec.structs.replace(device, target=name)
    return device
