"""iPhones through a Mac, on documents written by hand after public ones; xcrun is a stand-in that prints them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgedeploy.domain.device import Device, DeviceState
from edgedeploy.errors import DeviceAbsentError, DeviceUnavailableError, MissingToolError
from edgedeploy.transports import devicectl_documents as documents
from edgedeploy.transports.devicectl import DevicectlTransport
from edgedeploy.transports.devicectl_failure import missing_tool, trouble_in

FIXTURES = Path(__file__).parents[2] / "fixtures/devicectl"
DESK = "00008120-000A000000000001"


def read(name: str) -> bytes:
    return (FIXTURES / f"{name}.json").read_bytes()


def phone(udid: str = DESK) -> Device:
    return Device(name="phone", transport="devicectl", address=udid)


def test_phones_and_tablets_with_their_troubles() -> None:
    found = {listed.name: listed for listed in documents.phones(read("list"))}
    assert {name: listed.trouble for name, listed in found.items()} == {
        "Desk": None,
        "Drawer": "unreachable",
        "New": "unpaired",
        "Private": "developer-mode",
        "Starting": "booting",
        "Old": "too-old",
        "Pad": None,
    }
    assert (found["Desk"].udid, found["Desk"].model, found["Desk"].os_version) == (DESK, "iPhone 15", "17.6.1")
    assert documents.phones(read("list-none")) == ()


@pytest.mark.parametrize("text", [b"", b"Invalid JSON", b'{"result": []}', b'{"result": {"devices": [1]}}'])
def test_what_is_no_such_document(text: bytes) -> None:
    with pytest.raises(DeviceAbsentError, match="did not write"):
        documents.phones(text)
    assert documents.complaint(text) == ""


def test_newer_and_sparse_documents_are_read() -> None:
    (listed,) = documents.phones(
        b'{"info": {"jsonVersion": 9}, "result": {"devices": [{"identifier": "A", "new": 1,'
        b' "hardwareProperties": {"platform": "iOS"}}]}}'
    )
    assert (listed.udid, listed.trouble) == ("A", None)


def test_errors_are_told_from_the_outermost_to_the_cause() -> None:
    said = documents.complaint(read("error-locked"))
    assert said == (
        "The developer disk image could not be mounted on this device. (com.apple.dt.CoreDeviceError 12040); "
        "The operation failed since the device is locked. (kAMDMobileImageMounterDeviceLocked) (com.apple.mobiledevice -402652958)"
    )
    assert documents.complaint(read("list")) == ""


@pytest.mark.parametrize(
    ("name", "trouble"), [("error-locked", "locked"), ("error-developer-mode", "developer-mode"), ("error-not-found", "missing")]
)
def test_what_an_error_is_about(name: str, trouble: str) -> None:
    assert trouble_in(documents.complaint(read(name))) == trouble


@pytest.mark.parametrize(
    ("exit_code", "said", "missing"),
    [
        (71, "xcode-select: error: unable to get active developer directory", True),
        (72, 'xcrun: error: unable to find utility "devicectl", not a developer tool or in PATH', True),
        (1, "xcrun: error: invalid active developer path (/Library/Developer/CommandLineTools)", True),
        (1, "ERROR: The specified device was not found.", False),
    ],
)
def test_a_mac_without_xcode(exit_code: int, said: str, missing: bool) -> None:
    error = missing_tool(exit_code, said, "this Mac")
    assert (error is not None) is missing
    assert error is None or "Xcode 15" in error.next_step


class Mac:
    """This machine with a stand-in for Xcode; ``asked`` is what xcrun was given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def says(self, command: str, document: str, exit_code: int = 0) -> None:
        (self._folder / command.replace(" ", "-")).write_text(f"{FIXTURES}/{document}.json {exit_code}", encoding="utf-8")

    @property
    def asked(self) -> list[str]:
        return (self._folder / "asked").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    folder = tmp_path / "xcode"
    folder.mkdir()
    (folder / "xcode-select").write_text("#!/bin/sh\necho /Applications/Xcode.app/Contents/Developer\n", encoding="ascii")
    (folder / "xcrun").write_text(
        f'#!/bin/sh\ncd "{folder}" || exit 9\necho "$*" >> asked\n'
        'case $* in *"list devices"*) read -r document code < list-devices ;; *) read -r document code < device-info-lockState ;; esac\n'
        'while [ "$1" != --json-output ]; do shift; done\necho "some words for people"\ncat "$document" > "$2"\nexit "$code"\n',
        encoding="utf-8",
    )
    for tool in ("xcode-select", "xcrun"):
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "platform", "darwin")
    made = Mac(folder)
    made.says("list devices", "list")
    made.says("device info lockState", "lock-open")
    return made


def test_a_mac_finds_its_phones(mac: Mac) -> None:
    found = {device.address: device for device in DevicectlTransport().discover()}
    assert len(found) == 7
    assert found[DESK].state == "ready"
    assert found[DESK].detail == "Desk, iPhone 15, iOS 17.6.1"
    assert found["00008120-000A000000000004"].detail.endswith("Developer Mode is off")
    assert mac.asked[0].startswith("devicectl list devices --quiet --timeout 10 --json-output /")


def test_other_systems_find_none(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert DevicectlTransport().discover() == ()
    with pytest.raises(DeviceUnavailableError, match="through a Mac") as caught:
        DevicectlTransport().connect(phone())
    assert "host" in caught.value.next_step
    assert DevicectlTransport().state(phone()).state == "unreachable"
    assert not hasattr(mac, "never")


@pytest.mark.parametrize(
    ("number", "lock", "state", "what"),
    [
        (1, "lock-locked", "unauthorized", "locked"),
        (2, "lock-open", "unreachable", "does not reach"),
        (3, "lock-open", "unauthorized", "not paired"),
        (4, "lock-open", "unauthorized", "Developer Mode is off"),
        (5, "lock-open", "offline", "has not started"),
        (99, "lock-open", "unreachable", "does not know the phone"),
    ],
)
def test_what_keeps_us_from_a_phone(mac: Mac, number: int, lock: str, state: DeviceState, what: str) -> None:
    mac.says("device info lockState", lock)
    device = phone(f"00008120-000A0000000000{number:02}")
    assert DevicectlTransport().state(device).state == state
    with pytest.raises(DeviceUnavailableError, match=what) as caught:
        DevicectlTransport().connect(device)
    assert caught.value.next_step
    assert "{" not in caught.value.next_step


def test_a_lock_state_that_only_an_error_tells(mac: Mac) -> None:
    mac.says("device info lockState", "error-locked", 1)
    with pytest.raises(DeviceUnavailableError, match="locked"):
        DevicectlTransport().connect(phone())
    mac.says("device info lockState", "error-not-found", 1)
    DevicectlTransport().connect(phone()).close()


def test_a_mac_without_developer_tools_is_not_made_to_ask_for_them(mac: Mac, tmp_path: Path) -> None:
    (tmp_path / "xcode/xcode-select").write_text("#!/bin/sh\necho 'no developer directory' >&2; exit 2\n", encoding="ascii")
    with pytest.raises(MissingToolError, match="devicectl is not installed") as caught:
        DevicectlTransport().discover()
    assert "no developer directory" in caught.value.seen
    assert DevicectlTransport().state(phone()).detail == "devicectl is not installed"
    assert not (tmp_path / "xcode/asked").exists()
    assert isinstance(mac, Mac)
