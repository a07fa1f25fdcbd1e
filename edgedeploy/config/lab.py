"""Finds and reads ``lab.toml``: the units on the user's desk."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from edgedeploy.config.strict import read
from edgedeploy.domain.device import Device
from edgedeploy.domain.project import Lab, LabDevice
from edgedeploy.domain.target import Target
from edgedeploy.errors import ConfigError
from edgedeploy.places import config_folder
from edgedeploy.suggest import did_you_mean

FILE_NAME = "lab.toml"
_SSH_PORT = 22
_FOREIGN = {
    "adb": ("host", "user", "port", "key", "password"),
    "ssh": ("serial",),
    "devicectl": ("workdir",),
    "local": ("serial", "host", "user", "port", "key", "password"),
}


def lab_file(project_root: Path | None) -> Path | None:
    """``$EDGEDEPLOY_LAB``, else the one beside the project file, else the user's own; None when there is none.

    Raises:
        ConfigError: ``$EDGEDEPLOY_LAB`` names a file that is not there.
    """
    named = os.environ.get("EDGEDEPLOY_LAB")
    if named:
        if not Path(named).is_file():
            raise ConfigError("no such file", where=f"EDGEDEPLOY_LAB={named}")
        return Path(named)
    candidates = [config_folder() / FILE_NAME]
    if project_root is not None:
        candidates.insert(0, project_root / FILE_NAME)
    return next((file for file in candidates if file.is_file()), None)


def read_lab(file: Path, targets: dict[str, Target], *, broken: Collection[str] = ()) -> tuple[Device, ...]:
    """The devices of a lab file, without those of a target whose own file is ``broken``.

    Raises:
        ConfigError: an unknown target, no address, a key or a transport that does not belong there, or two devices with one
            address.
    """
    lab = read(file, Lab)
    devices: dict[tuple[str, str, int | None], Device] = {}
    for name, entry in lab.devices.items():
        if entry.target in broken:
            continue
        device = _device(name, entry, targets, file)
        port = device.port or (_SSH_PORT if device.transport == "ssh" else None)
        address = (device.transport, device.address, port)
        if address in devices:
            advice = "give each unit its own serial or host; `edgedeploy devices` shows the serials that are there"
            if device.transport == "local":
                advice = "keep one: this machine is a unit of every target that is reached by 'local'"
            raise ConfigError(
                f"two devices with one address: {devices[address].name!r} and {name!r}",
                where=f"{file}: devices.{name}",
                seen=device.address or "this machine",
                next_step=advice,
            )
        devices[address] = device
    return tuple(devices.values())


def _device(name: str, entry: LabDevice, targets: dict[str, Target], file: Path) -> Device:
    where = f"{file}: devices.{name}"
    target = targets.get(entry.target)
    if target is None:
        raise ConfigError(
            f"unknown target {entry.target!r}", where=f"{where}.target", next_step=did_you_mean(entry.target, targets)
        )
    transport = entry.transport or target.transports[0]
    if transport not in target.transports:
        raise ConfigError(
            f"{entry.target} is not reached by {transport!r}",
            where=f"{where}.transport",
            next_step=did_you_mean(transport, target.transports),
        )
    needed = {"adb": "serial", "ssh": "host", "devicectl": "serial"}.get(transport)
    if needed and not getattr(entry, needed):
        raise ConfigError(f"the key {needed!r} is missing", where=where, next_step=f'add `{needed} = "…"`')
    foreign = next((key for key in _FOREIGN.get(transport, ()) if getattr(entry, key)), None)
    if foreign:
        raise ConfigError(
            f"the key {foreign!r} does not belong to a device that is reached by {transport!r}",
            where=f"{where}.{foreign}",
            next_step="remove it, or give another `transport`",
        )
    return Device(
        name=name,
        transport=transport,
        target=entry.target,
        address=entry.serial or entry.host,
        through=entry.host if entry.serial else "",
        user=entry.user,
        port=entry.port,
        key=entry.key,
        password_env=entry.password.removeprefix("env:"),
        workdir=entry.workdir,
        python=entry.python,
        trusted_keys=entry.trusted_keys,
        origin=str(file),
    )
