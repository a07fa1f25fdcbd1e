"""One unit on the desk."""

from __future__ import annotations

from typing import Literal

import msgspec

DeviceState = Literal["ready", "offline", "unauthorized", "no-permission", "unreachable", "unknown"]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A phone, a board or this machine: how it is reached, and which target it is a unit of.

    ``address`` is what the transport needs: an ADB serial, a host name or an alias of ``~/.ssh/config``, nothing for
    ``local``. ``through`` is the host, as for SSH, that an iPhone hangs on; empty where that is this machine. ``target`` is
    empty when nothing says what kind of device it is.
    """

    name: str
    transport: str
    target: str = ""
    address: str = ""
    through: str = ""
    user: str = ""
    port: int | None = None
    key: str = ""
    password_env: str = ""
    workdir: str = ""
    python: str = "python3"
    trusted_keys: tuple[str, ...] = ()
    state: DeviceState = "unknown"
    detail: str = ""
    origin: str = ""
