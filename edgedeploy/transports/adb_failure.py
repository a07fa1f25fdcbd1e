"""adb's own failures, told apart and turned into errors with a way out. Pure text, no I/O."""

from __future__ import annotations

import re
from typing import Literal

from edgedeploy.errors import DeviceError, DeviceLostError, DeviceUnavailableError

Kind = Literal["not-found", "offline", "unauthorized", "authorizing", "no-permission", "too-old", "server", "connection"]

# Texts of adb's sources (client/adb_client.cpp, client/commandline.cpp, client/file_sync_client.cpp, transport.cpp,
# sysdeps/posix), versions 29 to 36. First match wins: "server" before "connection", whose words are more general.
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("unauthorized", re.compile(r"device unauthorized|failed to authenticate to")),
    ("authorizing", re.compile(r"device still (?:authorizing|connecting)")),
    ("no-permission", re.compile(r"insufficient permissions for device|^no permissions", re.MULTILINE)),
    ("offline", re.compile(r"device offline|device is offline")),
    ("not-found", re.compile(r"device '.*' not found|device not found|no devices(?:/emulators)? found|no such device")),
    ("too-old", re.compile(r"target doesn't support PTY args|device only supports allocating a pty")),
    (
        "server",
        re.compile(
            r"cannot connect to daemon|failed to check server version|could not read ok from ADB Server"
            r"|failed to start daemon|ADB server didn't ACK|server version .* doesn't match"
            r"|could not install \*smartsocket\* listener"
        ),
    ),
    (
        "connection",
        re.compile(
            r"\bclosed\b|protocol fault|connection reset|broken pipe|unexpected EOF|failed to read copy response"
            r"|failed to send (?:header|ID_)|connect failed|connect error|no response|transport error"
            r"|failed to get feature set",
            re.IGNORECASE,
        ),
    ),
)
_NOISE = re.compile(r"^(?:\* daemon .*|\* waiting for .*|WARNING: linker: .*)$", re.MULTILINE)

NEXT_STEPS: dict[Kind, str] = {
    "not-found": "check cable and power, then: adb devices -l",
    "offline": "unplug it and plug it in again, or: adb reconnect offline",
    "unauthorized": (
        "unlock the phone and tap Allow on its screen (Allow USB debugging?); without such a question, revoke the USB "
        "debugging authorisations in its developer options and plug it in again"
    ),
    "authorizing": "wait a moment; look at the phone's screen and tap Allow",
    "no-permission": (
        "give your user access to it: sudo apt install android-sdk-platform-tools-common && sudo usermod -aG plugdev "
        '"$USER", log in again and replug (other systems: the udev rules described on '
        "https://developer.android.com/studio/run/device#setting-up)"
    ),
    "too-old": "use a device with Android 7 or later: older ones do not tell exit codes",
    "server": "adb kill-server && adb start-server",
    "connection": "check cable and power, then: adb devices -l",
}


def failure_kind(text: str) -> Kind | None:
    """Return what kind of trouble of adb's own ``text`` speaks of; None if it does not."""
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), None)


def without_noise(text: str) -> str:
    """Return ``text`` without the lines that adb and the phone's linker print when all is well."""
    return _NOISE.sub("", text).strip()


def lost(text: str, *, device: str, doing: str) -> DeviceError:
    """Return the error for a connection that worked and then failed while ``doing`` something."""
    kind = failure_kind(text)
    seen = without_noise(text) or "adb ended without a word"
    where = f"device {device}"
    if kind in ("unauthorized", "no-permission", "too-old"):
        return DeviceUnavailableError(f"{doing} was refused", where=where, seen=seen, next_step=NEXT_STEPS[kind])
    return DeviceLostError(
        f"the device went away while {doing}", where=where, seen=seen, next_step=NEXT_STEPS[kind or "connection"]
    )
