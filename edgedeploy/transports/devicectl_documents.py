"""What ``xcrun devicectl`` writes with ``--json-output``, as data. Pure. Never compared with a device here.

Apple documents the JSON as the interface for programs (``devicectl help``), without a schema. Fields and values are those
that public projects have recorded (tests/fixtures/devicectl/README.md); only what is needed is read, and what is missing is
empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.domain.device import DeviceState
from edgedeploy.errors import DeviceAbsentError

_IOS = "iOS"
Trouble = Literal[
    "unpaired", "unreachable", "too-old", "developer-mode", "booting", "locked", "missing", "no-app", "untrusted", "full"
]


class _Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Fields that are not named are skipped."""


class _Connection(_Read, frozen=True, kw_only=True, rename="camel"):
    pairing_state: str = ""
    tunnel_state: str = ""
    transport_type: str = ""
    is_mobile_device_only: bool = False


class _Properties(_Read, frozen=True, kw_only=True, rename="camel"):
    name: str = ""
    os_version_number: str = ""
    boot_state: str = ""
    developer_mode_status: str = ""


class _Hardware(_Read, frozen=True, kw_only=True, rename="camel"):
    platform: str = ""
    reality: str = ""
    marketing_name: str = ""
    product_type: str = ""
    udid: str = ""


class _Device(_Read, frozen=True, kw_only=True, rename="camel"):
    identifier: str = ""
    connection_properties: _Connection = _Connection()
    device_properties: _Properties = _Properties()
    hardware_properties: _Hardware = _Hardware()


class _App(_Read, frozen=True, kw_only=True, rename="camel"):
    bundle_identifier: str = ""


class _Resources(_Read, frozen=True, kw_only=True, rename="camel"):
    is_directory: bool = False
    is_symbolic_link: bool = False


class _Metadata(_Read, frozen=True, kw_only=True, rename="camel"):
    size: int = -1


class _File(_Read, frozen=True, kw_only=True, rename="camel"):
    relative_path: str = ""
    resources: _Resources = _Resources()
    metadata: _Metadata = _Metadata()


class _Result(_Read, frozen=True, kw_only=True, rename="camel"):
    devices: tuple[_Device, ...] = ()
    passcode_required: bool = False
    apps: tuple[_App, ...] = ()
    files: tuple[_File, ...] = ()


class _Text(_Read, frozen=True, kw_only=True, rename="camel"):
    string: str = ""


class _UserInfo(msgspec.Struct, frozen=True, kw_only=True):
    description: _Text = msgspec.field(name="NSLocalizedDescription", default=_Text())
    reason: _Text = msgspec.field(name="NSLocalizedFailureReason", default=_Text())
    underlying: _Underlying | None = msgspec.field(name="NSUnderlyingError", default=None)


class _Error(_Read, frozen=True, kw_only=True, rename="camel"):
    code: int = 0
    domain: str = ""
    user_info: _UserInfo = _UserInfo()


class _Underlying(_Read, frozen=True, kw_only=True, rename="camel"):
    error: _Error = _Error()


class _Document(_Read, frozen=True, kw_only=True, rename="camel"):
    result: _Result = _Result()
    error: _Error | None = None


class Phone(msgspec.Struct, frozen=True, kw_only=True):
    """An iPhone or iPad that a Mac knows. ``trouble`` is what keeps it from being used; None when nothing is known to."""

    udid: str
    identifier: str
    name: str
    model: str
    os_version: str
    trouble: Trouble | None


def phones(document: bytes) -> tuple[Phone, ...]:
    """Those of ``devicectl list devices``; watches, television sets and simulators are left out.

    Raises:
        DeviceAbsentError: that is no such document.
    """
    listed = _read(document).result.devices
    return tuple(_phone(device) for device in listed if _is_phone(device.hardware_properties))


def is_locked(document: bytes) -> bool:
    """From ``devicectl device info lockState``: a locked phone starts no programs, and takes no developer disk image.

    Raises:
        DeviceAbsentError: that is no such document.
    """
    return _read(document).result.passcode_required


def apps(document: bytes) -> tuple[str, ...]:
    """Bundle identifiers of ``devicectl device info apps``: what developers installed.

    Raises:
        DeviceAbsentError: that is no such document.
    """
    return tuple(app.bundle_identifier for app in _read(document).result.apps)


def files(document: bytes) -> dict[str, int]:
    """Sizes in bytes of the files of ``devicectl device info files``, by their paths from the folder that was listed.

    Raises:
        DeviceAbsentError: that is no such document.
    """
    listed = _read(document).result.files
    plain = [file for file in listed if not (file.resources.is_directory or file.resources.is_symbolic_link)]
    return {file.relative_path: file.metadata.size for file in plain}


def complaint(document: bytes) -> str:
    """What went wrong, from the outermost error to its cause, each with its domain and code; empty if nothing did."""
    try:
        error = _read(document).error
    except DeviceAbsentError:
        return ""
    return "; ".join(dict.fromkeys(_causes(error)))


def state_of(trouble: Trouble | None) -> DeviceState:
    """The state that a trouble is for a user."""
    if trouble is None:
        return "ready"
    if trouble in ("unpaired", "developer-mode", "locked", "untrusted"):
        return "unauthorized"
    return "offline" if trouble == "booting" else "unreachable"


def _read(document: bytes) -> _Document:
    try:
        return decode(document, _Document)
    except msgspec.DecodeError as exc:
        raise DeviceAbsentError(
            "devicectl did not write what we know how to read",
            where="xcrun devicectl",
            seen=f"{exc}: {document[:200].decode(errors='replace')!r}",
            next_step="it is part of Xcode 15 and later; see what it says: xcrun devicectl list devices",
        ) from exc


def _is_phone(hardware: _Hardware) -> bool:
    return hardware.platform == _IOS and hardware.reality in ("", "physical")


def _phone(device: _Device) -> Phone:
    properties, hardware = device.device_properties, device.hardware_properties
    return Phone(
        udid=hardware.udid or device.identifier,
        identifier=device.identifier,
        name=properties.name,
        model=hardware.marketing_name or hardware.product_type,
        os_version=properties.os_version_number,
        trouble=_trouble(device.connection_properties, properties),
    )


def _trouble(connection: _Connection, properties: _Properties) -> Trouble | None:
    if connection.is_mobile_device_only:
        return "too-old"
    if connection.pairing_state not in ("", "paired"):
        return "unpaired"
    # "disconnected" is how a phone rests that can be reached: the tunnel is opened when it is needed.
    if connection.tunnel_state == "unavailable":
        return "unreachable"
    if properties.boot_state not in ("", "booted"):
        return "booting"
    return "developer-mode" if properties.developer_mode_status == "disabled" else None


def _causes(error: _Error | None) -> Iterator[str]:
    while error is not None:
        said = " ".join(filter(None, (error.user_info.description.string, error.user_info.reason.string)))
        code = f"({error.domain} {error.code})" if error.domain else ""
        if said or code:
            yield f"{said} {code}".strip()
        error = error.user_info.underlying.error if error.user_info.underlying is not None else None
