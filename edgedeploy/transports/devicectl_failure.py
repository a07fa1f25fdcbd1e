"""Why a Mac cannot use an iPhone, and what to do. Pure. Texts are Apple's as public reports have them, never seen here."""

from __future__ import annotations

import re

from edgedeploy.errors import DeviceAbsentError, DeviceStorageError, DeviceUnavailableError, EdgedeployError, MissingToolError
from edgedeploy.transports.devicectl_documents import Trouble

NO_TOOLS_EXIT_CODE = 71
"""What our own script ends with where no developer tools are chosen; to ask xcrun then would open a window on the Mac."""

_NO_TOOL = re.compile(r"unable to find utility|not a developer tool|invalid active developer path|requires Xcode")
# First match wins: an image that cannot be mounted is most often the lock's or Developer Mode's doing, and says so.
_TROUBLES: tuple[tuple[Trouble, re.Pattern[str]], ...] = (
    ("developer-mode", re.compile(r"Developer Mode is (?:disabled|off|not enabled)", re.IGNORECASE)),
    (
        "locked",
        re.compile(r"DeviceLocked|is locked|was not, or could not be, unlocked|PasswordProtected|FBSOpenApplication.*Locked"),
    ),
    (
        "unpaired",
        re.compile(r"not (?:been )?paired|must be paired|pairing (?:is )?required|InvalidHostID|untrusted host", re.IGNORECASE),
    ),
    ("untrusted", re.compile(r"explicitly trusted|invalid code signature|inadequate entitlements", re.IGNORECASE)),
    (
        "no-app",
        re.compile(
            r"(?:application|app|bundle)\b.*\bis not installed|unknown to FrontBoard|no (?:such )?app\w* .*(?:found|installed)",
            re.IGNORECASE,
        ),
    ),
    ("full", re.compile(r"No space left on device|not enough (?:free |disk )?space|out of space", re.IGNORECASE)),
    ("missing", re.compile(r"device was not found|\(com\.apple\.dt\.CoreDeviceError 1000\)")),
)
_SIGNAL = re.compile(r"^App terminated due to signal (\d{1,2})\b", re.MULTILINE)
_WHAT: dict[Trouble, str] = {
    "unpaired": "the phone and the Mac are not paired",
    "unreachable": "the Mac does not reach the phone",
    "too-old": "the phone's iOS is older than 17, and devicectl knows nothing of it",
    "developer-mode": "Developer Mode is off",
    "booting": "the phone has not started yet",
    "locked": "the phone is locked",
    "missing": "the Mac does not know the phone",
    "no-app": "edgedeploy's app is not installed on the phone",
    "untrusted": "the phone does not trust whoever signed the app",
    "full": "the phone's storage is full",
}
_NEXT_STEP: dict[Trouble, str] = {
    "unpaired": (
        "plug it into the Mac, unlock it, tap Trust and type its passcode; "
        "or, on the Mac: xcrun devicectl manage pair --device {udid}"
    ),
    "unreachable": "plug it into the Mac, or bring both into one Wi-Fi, and unlock it; on the Mac: xcrun devicectl list devices",
    "too-old": "update it to iOS 17 or newer",
    "developer-mode": (
        "on the phone: Settings, Privacy & Security, Developer Mode, on; it restarts, and asks once more when it is unlocked"
    ),
    "booting": "wait until it shows its lock screen, and unlock it once",
    "locked": "unlock it; Settings, Display & Brightness, Auto-Lock, Never keeps it so while it is measured",
    "no-app": "build it and install it once, on the Mac: docs/iphones.md, The app",
    "untrusted": (
        "on the phone: Settings, General, VPN & Device Management, trust the developer; a free account's app ends after 7 days: "
        "build and install it again"
    ),
    "full": "`edgedeploy clean` for this target and device; to free all of it, delete the app and install it again",
    "missing": "plug it in; `serial` in lab.toml is the udid that this shows on the Mac: xcrun devicectl list devices",
}


def trouble_in(said: str) -> Trouble | None:
    """Which trouble Apple's words speak of; None if none that is known."""
    return next((trouble for trouble, pattern in _TROUBLES if pattern.search(said)), None)


def unavailable(trouble: Trouble, *, device: str, udid: str, seen: str = "") -> EdgedeployError:
    """The error of a phone that cannot be used as it is."""
    kind: type[EdgedeployError] = DeviceUnavailableError
    if trouble in ("unreachable", "booting"):
        kind = DeviceAbsentError
    elif trouble == "full":
        kind = DeviceStorageError
    return kind(_WHAT[trouble], where=f"device {device}", seen=seen, next_step=_NEXT_STEP[trouble].format(udid=udid))


def words_of(trouble: Trouble) -> str:
    """A trouble in a few words."""
    return _WHAT[trouble]


def signal_in(said: str) -> int:
    """The signal that an app died of, by what ``devicectl device process launch --console`` says at its end; 0 for none."""
    found = _SIGNAL.findall(said)
    return int(found[-1]) if found else 0


def missing_tool(exit_code: int, said: str, mac: str) -> MissingToolError | None:
    """The error of a Mac without Xcode; None if that is not what is wrong."""
    if exit_code != NO_TOOLS_EXIT_CODE and not _NO_TOOL.search(said):
        return None
    return MissingToolError(
        "devicectl is not installed",
        where=mac,
        seen=said.strip(),
        next_step=(
            "install Xcode 15 or newer there (the command line tools alone have no devicectl), start it once, then: "
            "sudo xcode-select -s /Applications/Xcode.app/Contents/Developer"
        ),
    )
