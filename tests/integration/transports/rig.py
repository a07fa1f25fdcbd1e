"""A device of any kind, with a connection, for tests that every transport has to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from standins.board import SshBoard
from standins.phone import Phone

from edgedeploy.domain.device import Device
from edgedeploy.ports import Connection, Transport


class PullCable(Protocol):
    """Cuts the device off, now or when so many more bytes have gone towards it."""

    def __call__(self, *, after_bytes: int | None = None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A device, an open connection to it, and a folder there that can be written."""

    kind: str
    transport: Transport
    device: Device
    connection: Connection
    folder: str
    pull_cable: PullCable | None
    plug_cable: Callable[[], None] = lambda: None


def board_device(board: SshBoard, **changes: object) -> Device:
    """The board as the lab file would have it."""
    known = {"name": "board", "transport": "ssh", "address": board.host, "port": board.port, "user": board.user}
    return Device(**{**known, "key": str(board.identity_file), **changes})  # type: ignore[arg-type]


def phone_device(phone: Phone) -> Device:
    """The phone as the lab file would have it."""
    return Device(name="phone", transport="adb", address=phone.address)
