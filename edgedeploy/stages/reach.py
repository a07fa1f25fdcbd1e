"""A device while it is worked on: connected, leased to us, tried again when the way to it breaks for a while."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from edgedeploy import registry
from edgedeploy.deploy.app_store import AppStore
from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.lease import Holder, Leases
from edgedeploy.deploy.lease_keeper import Claim, held
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Note, Sink
from edgedeploy.domain.target import Target
from edgedeploy.errors import DeviceBusyError, DeviceLostError, EdgedeployError, LeaseLostError
from edgedeploy.ports import AppConnection, Connection

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


class Open:
    """The connections that are open, so that all of them can be closed from outside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether everything is to end."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, or until everything is to end."""
        self._stop.wait(seconds)

    @contextmanager
    def connection(self, device: Device) -> Iterator[Connection]:
        """Connect, and close afterwards.

        Raises:
            DeviceUnavailableError: it cannot be reached, or refuses us.
        """
        opened = registry.transport(device.transport).connect(device)
        with self._lock:
            self._connections.append(opened)
        try:
            if self.stopped:
                raise DeviceLostError("stopped", where=f"device {device.name}")
            yield opened
        finally:
            opened.close()
            with self._lock:
                self._connections.remove(opened)

    @contextmanager
    def lease(self, connection: Connection, device: Device, target: Target, claim: Claim, sink: Sink) -> Iterator[None]:
        """Have a connected device to oneself.

        Raises:
            DeviceBusyError: somebody else has it.
            LeaseLostError: somebody else took it meanwhile.
        """
        told: list[Holder] = []

        @contextmanager
        def again() -> Iterator[Leases]:
            with self.connection(device) as another:
                yield leases_of(another, device, target)

        def waiting(holder: Holder) -> None:
            if not told:
                sink(Note(text=f"{device.name}: waiting for {holder.owner}, {holder.purpose}"))
            told.append(holder)

        leases = leases_of(connection, device, target)
        with held(leases, claim, again=again, waiting=waiting, lost=connection.close):
            yield

    def close_all(self) -> None:
        """End everything, from whichever thread; all at once, as a board that hangs takes seconds."""
        with self._lock:
            self._stop.set()
            closing = [threading.Thread(target=connection.close) for connection in self._connections]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()


def workdir_of(device: Device, target: Target) -> str:
    """The folder on the device that is ours."""
    return device.workdir or target.workdir


def store_of(connection: Connection, device: Device, target: Target, project: str, chunks: ChunkMaps | None = None) -> Store:
    """The store of a project on a connected device, looked at now."""
    if isinstance(connection, AppConnection):
        return AppStore(connection, device=device.name, project=project)
    return Store(connection, device=device.name, workdir=workdir_of(device, target), project=project, chunks=chunks)


def leases_of(connection: Connection, device: Device, target: Target) -> Leases:
    """The leases of a connected device. Those of one without a shell lie on the machine that it hangs on."""
    if isinstance(connection, AppConnection):
        return Leases(DeviceShell(connection.host, device.name), f"~/.edgedeploy/{device.address}")
    return Leases(DeviceShell(connection, device.name), workdir_of(device, target))


def trusted_keys_of(device: Device, target: Target) -> tuple[str, ...]:
    """Whose signatures the device demands; empty where it demands none."""
    return device.trusted_keys or target.trusted_keys


class Attempts:
    """Whether a failure of one device is worth another attempt: for some time since the first one after it got something done."""

    def __init__(self, device: Device, opened: Open, sink: Sink, *, retry_for_s: float) -> None:
        self._device = device
        self._opened = opened
        self._sink = sink
        self._retry_for_s = retry_for_s
        self._lost_at: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def got_something_done(self) -> None:
        """The time for further attempts begins anew."""
        self._lost_at = None
        self._pause_s = _FIRST_PAUSE_S

    def wait_after(self, error: EdgedeployError) -> None:
        """Pause before the next attempt, each time longer.

        Raises:
            EdgedeployError: ``error`` itself, when it will not pass, or enough time has.
        """
        final = not error.retryable or isinstance(error, DeviceBusyError | LeaseLostError) or self._opened.stopped
        now = time.monotonic()
        if self._lost_at is None:  # what it did before may have taken long
            self._lost_at = now
        if final or now + self._pause_s > self._lost_at + self._retry_for_s:
            raise error
        self._sink(Note(text=f"{self._device.name}: {error.what}; trying again", level="warning"))
        self._opened.pause(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that several do not come at once
        if self._opened.stopped:
            raise error
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
