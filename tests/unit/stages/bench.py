"""Devices that live in memory: a transport with the shape of ``edgedeploy.ports.Transport``, registered in place of the real ones.

Commands of a connection run on this machine, by the real local connection: a store on such a device is a real store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from edgedeploy import registry
from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceLostError, DeviceUnavailableError, EdgedeployError, UsageError
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.transports.local import LocalConnection

Run = Callable[[Sequence[str]], Completed | None]


class FakeConnection:
    """A connection to a device of the bench; ``getprop`` answers with the device's properties."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._inner = LocalConnection(unit.device.name)
        self.closed = 0

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        self._check("run")
        if "getprop" in " ".join(argv[:3]):
            lines = [self._unit.properties.get(key, "") for key in argv[4:]]
            return Completed(exit_code=0, stdout="".join(f"{line}\n" for line in lines).encode(), stderr=b"")
        answer = self._unit.answers(argv) if self._unit.answers else None
        return answer if answer is not None else self._inner.run(argv, timeout_s=timeout_s, stdin=stdin)

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        self._check("pour")
        return self._inner.pour(argv, source, quiet_s=quiet_s, progress=progress)

    def fetch(self, remote: str, local: Path) -> None:
        self._check("fetch")
        self._inner.fetch(remote, local)

    def close(self) -> None:
        self.closed += 1

    def _check(self, call: str) -> None:
        if call == self._unit.lost_at:
            raise DeviceLostError(f"{self._unit.device.name} went away", where=self._unit.device.name)


class Unit:
    """One device: what it is, and how it misbehaves (``lost_at``: run, pour or fetch)."""

    def __init__(
        self,
        device: Device,
        *,
        properties: dict[str, str] | None = None,
        lost_at: str = "",
        answers: Run | None = None,
        back: bool = False,
    ) -> None:
        self.device, self.properties, self.lost_at, self.answers, self.back = device, properties or {}, lost_at, answers, back
        self.connections: list[FakeConnection] = []


class FakeTransport:
    """Finds the units it was given; those that are not ready refuse a connection with the way out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[Unit] = []
        self.named: list[Unit] = []
        self.missing: EdgedeployError | None = None
        self._lock = threading.Lock()

    def discover(self) -> tuple[Device, ...]:
        if self.missing:
            raise self.missing
        return tuple(unit.device for unit in self.found)

    def state(self, device: Device) -> Device:
        unit = self._unit(device)
        return msgspec.structs.replace(device, state=unit.device.state, detail=unit.device.detail)

    def connect(self, device: Device) -> FakeConnection:
        unit = self._unit(device)
        if unit.device.state != "ready" and not unit.back:
            raise DeviceUnavailableError(
                f"{device.name} is {unit.device.state}", where=device.address, next_step="tap Allow on its screen"
            )
        connection = FakeConnection(unit)
        with self._lock:
            unit.connections.append(connection)
        return connection

    def _unit(self, device: Device) -> Unit:
        return next(unit for unit in (*self.found, *self.named) if unit.device.address == device.address)


class Bench:
    """The transports that the registry knows while a test runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transports: dict[str, FakeTransport] = {}
        real_names = registry.names
        monkeypatch.setattr(
            registry, "names", lambda group: tuple(self.transports) if group == "transports" else real_names(group)
        )
        monkeypatch.setattr(registry, "transport", self._transport)

    def transport(self, name: str) -> FakeTransport:
        """The fake of that name, made when first asked for."""
        return self.transports.setdefault(name, FakeTransport(name))

    def _transport(self, name: str) -> FakeTransport:
        if name not in self.transports:
            raise UsageError(f"no transport named {name!r} is installed")
        return self.transports[name]
