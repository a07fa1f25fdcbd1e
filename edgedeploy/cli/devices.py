"""``edgedeploy devices``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgedeploy.cli.options import json_option

if TYPE_CHECKING:
    from edgedeploy.domain.device import Device
    from edgedeploy.domain.measurement import DeviceFacts
    from edgedeploy.domain.target import Target
    from edgedeploy.lab import Lab

_OS_BY_TRANSPORT = {"adb": "android", "devicectl": "ios"}  # of a device that nothing says more of


@click.command()
@click.option("--probe", is_flag=True, help="Ask each reachable device for its facts: OS, cores, clocks, memory, temperature.")
@json_option
def devices(*, probe: bool, as_json: bool) -> None:
    """List the devices that are there: this machine, those found by adb, those of lab.toml."""
    from edgedeploy import registry
    from edgedeploy.config.project import find_project_file
    from edgedeploy.errors import UsageError
    from edgedeploy.lab import Lab
    from edgedeploy.stages.devices import take_inventory

    try:
        root = find_project_file(Path()).parent
    except UsageError:
        root = Path.cwd()
    lab = Lab(root)
    inventory = take_inventory(lab.devices, lab.targets, registry.names("transports"))
    facts = {device: _facts(device, lab) for device in inventory.devices} if probe else {}
    trouble = (*inventory.trouble.values(), *lab.broken)
    if as_json:
        import msgspec

        rows = [{"device": device, "facts": facts.get(device)} for device in inventory.devices]
        document = {"schema": "edgedeploy.devices/1", "devices": rows, "trouble": [str(t) for t in trouble]}
        click.echo(msgspec.json.format(msgspec.json.encode(document)))
        return
    for device in inventory.devices:
        address = device.address or "-"
        click.echo(f"{device.name:<20}  {device.target or '?':<20}  {device.transport:<6}  {device.state:<14}  {address}")
        if device.detail:
            click.echo(f"    {device.detail}")
        found = facts.get(device)
        if found is not None:
            for line in _lines(found):
                click.echo(f"    {line}")
    for error in trouble:
        click.echo(f"warning: {error}", err=True)


def _facts(device: Device, lab: Lab) -> DeviceFacts | None:
    from edgedeploy import registry
    from edgedeploy.errors import EdgedeployError
    from edgedeploy.host import host_os
    from edgedeploy.stages.facts import facts_of

    if device.state != "ready":
        return None
    target = lab.targets.get(device.target)
    os = target.os if target else _OS_BY_TRANSPORT.get(device.transport, "linux")
    try:
        connection = registry.transport(device.transport).connect(device)
        try:
            return facts_of(connection, registry.probe(host_os() if os == "host" else os), _storage(device, target))
        finally:
            connection.close()
    except EdgedeployError as error:
        click.echo(f"warning: {device.name}: {error}", err=True)
        return None


def _storage(device: Device, target: Target | None) -> str:
    """A folder on the file system that a push would fill: the workdir's parent, which is there before the first push."""
    workdir = device.workdir or (target.workdir if target else "")
    return str(Path(workdir).parent) if workdir.startswith("/") else "."


def _lines(facts: DeviceFacts) -> list[str]:
    def known(label: str, value: object) -> str:
        return f"{label}: {'unavailable' if value is None else value}"

    clocks = [f"{core.max_hz / 1e6:.0f}" if core.max_hz else "?" for core in facts.cores]
    temperatures = ", ".join(f"{name} {value:.1f} °C" for name, value in facts.temperatures_c.items())
    memory = None
    if facts.memory_total_bytes is not None:
        memory = f"{facts.memory_total_bytes / 1e9:.2f} GB, {(facts.memory_available_bytes or 0) / 1e9:.2f} GB available"
    storage = None if facts.storage_free_bytes is None else f"{facts.storage_free_bytes / 1e9:.2f} GB free"
    return [
        known("OS", " ".join(filter(None, (facts.os, facts.os_version, facts.os_build)))),
        known("model", facts.model),
        known("SoC", facts.soc),
        known("ABI", facts.abi),
        known("cores", f"{len(facts.cores)}, max MHz {' '.join(clocks)}" if facts.cores else None),
        known("memory", memory),
        known("storage", storage),
        known("temperature", temperatures or None),
    ]
