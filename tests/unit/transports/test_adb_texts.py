from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.deploy.storage_complaints import storage_remedy
from edgedeploy.errors import DeviceLostError, DeviceUnavailableError
from edgedeploy.transports.adb_failure import failure_kind, lost, without_noise
from edgedeploy.transports.adb_listing import parse_devices, to_device

TEXTS = Path(__file__).parents[2] / "fixtures/adb"
FAILURES = [line.split("\t") for line in (TEXTS / "failures.txt").read_text(encoding="ascii").splitlines()]


def read(name: str) -> str:
    return (TEXTS / name).read_text(encoding="utf-8")


def test_every_state_that_adb_knows() -> None:
    found = {listed.serial: listed for listed in parse_devices(read("devices-all-states.txt"))}
    assert {serial: listed.state for serial, listed in found.items()} == {
        "38161FDJG00D5C": "ready",
        "R5CT30ABCDE": "unauthorized",
        "192.168.1.23:5555": "offline",
        "adb-38161FDJG00D5C-abcdef._adb-tls-connect._tcp": "ready",
        "emulator-5554": "unauthorized",
        "ABC": "offline",
        "RECOV1": "offline",
        "SIDE1": "offline",
        "BOOT1": "offline",
        "RESCUE1": "offline",
        "DETACH1": "offline",
        "(no serial number)": "no-permission",
        "0123456789ABCDEF": "no-permission",
        "????????????": "no-permission",
        "my tablet 7": "ready",
    }
    assert found["38161FDJG00D5C"].facts["model"] == "Pixel_8_Pro"
    assert found["38161FDJG00D5C"].detail == "Pixel 8 Pro"
    assert "tap Allow" in found["R5CT30ABCDE"].detail
    assert "plugdev" in found["0123456789ABCDEF"].detail
    assert "recovery" in found["RECOV1"].detail


def test_a_device_carries_its_serial_number() -> None:
    device = to_device(parse_devices(read("devices-all-states.txt"))[0])
    assert (device.name, device.address, device.transport, device.state) == (
        "38161FDJG00D5C",
        "38161FDJG00D5C",
        "adb",
        "ready",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("devices-none.txt", []),
        ("devices-short.txt", ["ready", "offline", "unauthorized"]),
        ("devices-standins.txt", ["ready", "unauthorized", "offline"]),
        ("devices-garbage.txt", ["ready"]),
    ],
)
def test_other_listings(name: str, expected: list[str]) -> None:
    assert [listed.state for listed in parse_devices(read(name))] == expected


@given(st.text())
def test_no_listing_breaks_the_parser(text: str) -> None:
    assert all(listed.serial for listed in parse_devices(text))


@pytest.mark.parametrize(("kind", "text"), [row[:2] for row in FAILURES])
def test_failures_are_told_apart(kind: str, text: str) -> None:
    assert failure_kind(text.replace("\\n", "\n")) == kind


@pytest.mark.parametrize("text", ["", "ls: /x: Permission denied", "Killed", "enclosed", "Segmentation fault"])
def test_what_is_no_failure_of_adb(text: str) -> None:
    assert failure_kind(text) is None


@pytest.mark.parametrize(("kind", "text"), [row[:2] for row in FAILURES])
def test_every_failure_has_a_way_out(kind: str, text: str) -> None:
    error = lost(text.replace("\\n", "\n"), device="p", doing="running x")
    assert error.next_step
    assert error.seen
    refused = kind in {"unauthorized", "no-permission", "too-old"}
    assert isinstance(error, DeviceUnavailableError if refused else DeviceLostError)
    assert error.retryable is not refused


def test_silence_is_told_as_silence() -> None:
    assert "without a word" in lost("* daemon started successfully\n", device="p", doing="running x").seen


def test_noise_is_dropped() -> None:
    text = "* daemon not running; starting now at tcp:5037\n* daemon started successfully\nWARNING: linker: x\nreal"
    assert without_noise(text) == "real"


def test_storage_complaints_say_what_to_do() -> None:
    assert "free some space" in (storage_remedy("dd: error writing 'x': No space left on device") or "")
    assert storage_remedy("all is well") is None
