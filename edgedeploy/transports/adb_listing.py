"""What ``adb devices -l`` prints, as data. Pure."""

from __future__ import annotations

import re

import msgspec

from edgedeploy.domain.device import Device, DeviceState

# Names of connection states as adb's sources have them (adb.h, ConnectionState; transport.cpp, connection_state_name).
_STATES: dict[str, tuple[DeviceState, str]] = {
    "device": ("ready", ""),
    "offline": ("offline", "adb sees it, but it does not answer"),
    "unauthorized": ("unauthorized", "the phone waits for someone to tap Allow on its screen"),
    "authorizing": ("unauthorized", "adb and the phone are still exchanging keys"),
    "connecting": ("offline", "adb is still connecting to it"),
    "recovery": ("offline", "it is in recovery mode"),
    "rescue": ("offline", "it is in rescue mode"),
    "sideload": ("offline", "it is in sideload mode"),
    "bootloader": ("offline", "it is in the bootloader"),
    "host": ("unknown", "adb calls it a host"),
    "detached": ("offline", "another adb server holds it (adb attach gives it back)"),
    "unknown": ("unknown", "adb does not know its state"),
}
_NO_PERMISSIONS = r"no permissions(?:[^\[\n]*\[[^\]\n]*\]|.*?)"
_LINE = re.compile(
    r"^(?P<serial>\S(?:.*?\S)?)\s+"
    rf"(?P<state>{'|'.join(_STATES)}|{_NO_PERMISSIONS})"
    r"(?P<rest>(?:\s+(?:usb|product|model|device|transport_id|features):\S*|\s+\d[\d.-]*X?)*)\s*$"
)
_FACT = re.compile(r"(\w+):(\S+)")


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line: adb's own word for the state in ``adb_state``, ``facts`` such as ``model`` or ``usb``."""

    serial: str
    adb_state: str
    state: DeviceState
    detail: str
    facts: dict[str, str]


def parse_devices(text: str) -> tuple[Listed, ...]:
    """Return the devices in what ``adb devices`` or ``adb devices -l`` printed; other lines are skipped."""
    lines = [_LINE.match(line) for line in text.splitlines() if not line.startswith(("*", "List of devices", "adb "))]
    return tuple(_listed(line) for line in lines if line)


def to_device(listed: Listed) -> Device:
    """Return a device named by its serial number."""
    return Device(name=listed.serial, transport="adb", address=listed.serial, state=listed.state, detail=listed.detail)


def _listed(line: re.Match[str]) -> Listed:
    adb_state = line["state"].strip()
    facts = dict(_FACT.findall(line["rest"]))
    if adb_state.startswith("no permissions"):
        state: DeviceState = "no-permission"
        detail = adb_state
    else:
        state, detail = _STATES[adb_state]
    model = facts.get("model", "").replace("_", " ")
    return Listed(
        serial=line["serial"],
        adb_state=adb_state,
        state=state,
        detail=", ".join(part for part in (model, detail) if part),
        facts=facts,
    )
