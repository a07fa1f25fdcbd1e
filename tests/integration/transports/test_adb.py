"""What is particular to adb: its server, devices in every state, and failures that look like a command's own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.transports.rig import phone_device
from standins.adb_server import AdbServer
from standins.phone import WORKDIR, Phone
from standins.unauthorized import UnusableDevice

from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.feed import file_feed
from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceLostError, DeviceStorageError, DeviceUnavailableError
from edgedeploy.probes.android import AndroidProbe
from edgedeploy.transports.adb import AdbTransport

FAST_S = 2.0


def test_all_states_are_discovered(phone: Phone, unauthorized_device: UnusableDevice) -> None:
    found = {device.address: device for device in AdbTransport().discover()}
    assert found[phone.address].state == "ready"
    assert found[unauthorized_device.address].state == "unauthorized"
    assert "Allow" in found[unauthorized_device.address].detail


def test_an_unauthorized_phone_says_tap_allow_at_once(unauthorized_device: UnusableDevice) -> None:
    device = Device(name="p", transport="adb", address=unauthorized_device.address)
    started = time.monotonic()
    with pytest.raises(DeviceUnavailableError) as caught:
        AdbTransport().connect(device)
    assert time.monotonic() - started < FAST_S
    assert "tap Allow" in caught.value.next_step
    assert AdbTransport().state(device).state == "unauthorized"


@pytest.mark.usefixtures("phone")
def test_a_serial_number_that_nobody_has(phone: Phone) -> None:
    started = time.monotonic()
    with pytest.raises(DeviceUnavailableError) as caught:
        AdbTransport().connect(Device(name="p", transport="adb", address="R5CT30ABCDE"))
    assert time.monotonic() - started < FAST_S
    assert "R5CT30ABCDE" in caught.value.seen
    assert phone.address in caught.value.seen
    assert AdbTransport().state(Device(name="p", transport="adb", address="R5CT30ABCDE")).state == "unreachable"


def test_a_phone_of_the_network_is_connected_when_asked_for(phone: Phone, adb_server: AdbServer) -> None:
    adb_server.disconnect(phone.address)
    connection = AdbTransport().connect(phone_device(phone))
    assert connection.run(["echo", "here"], timeout_s=20).stdout == b"here\n"


def test_a_phone_that_came_back_is_connected_anew(phone: Phone) -> None:
    transport = AdbTransport()
    connection = transport.connect(phone_device(phone))
    phone.pull_cable()
    with pytest.raises(DeviceLostError):
        connection.run(["true"], timeout_s=10)
    phone.plug_cable()
    assert transport.connect(phone_device(phone)).run(["true"], timeout_s=20).exit_code == 0


@pytest.mark.parametrize("how", ["cable", "power", "server"])
def test_going_away_is_never_taken_for_exit_code_one(phone: Phone, adb_server: AdbServer, how: str) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    blow: dict[str, Callable[[], None]] = {
        "cable": phone.pull_cable,
        "power": phone.cable.stop,
        "server": adb_server.restart,
    }
    timer = threading.Timer(0.5, blow[how])
    timer.start()
    with pytest.raises(DeviceLostError) as caught:
        connection.run(["sh", "-c", "echo before; sleep 30; exit 1"], timeout_s=25)
    timer.join()
    assert caught.value.retryable
    assert "went away" in caught.value.what


def test_a_command_that_ends_as_adb_does_when_it_fails(phone: Phone) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    for code in (1, 255):
        script = f"echo \"error: device '{phone.address}' not found\" >&2; exit {code}"
        ended = connection.run(["sh", "-c", script], timeout_s=20)
        assert ended.exit_code == code


def test_storage_that_is_full_or_read_only(phone_factory: Callable[..., Phone], tmp_path: Path) -> None:
    source = tmp_path / "source: closed.bin"
    source.write_bytes(os.urandom(8 << 20))
    for options, reason in (
        ({"data_size_bytes": 2 << 20}, "No space left on device"),
        ({"data_read_only": True}, "Read-only file system"),
    ):
        shell = DeviceShell(AdbTransport().connect(phone_device(phone_factory(**options))), "phone")
        with file_feed(source) as feed, pytest.raises(DeviceStorageError) as caught:
            shell.pour('dd of="$1"', f"{WORKDIR}/closed: offline", source=feed, quiet_s=20, progress=lambda _count: None)
        assert reason in caught.value.seen


def test_a_place_that_the_shell_user_may_not_write(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    shell = DeviceShell(AdbTransport().connect(phone_device(phone)), "phone")
    with file_feed(tmp_path / "source") as feed, pytest.raises(DeviceStorageError) as caught:
        shell.pour('dd of="$1"', "/data/x", source=feed, quiet_s=20, progress=lambda _count: None)
    assert caught.value.next_step


def test_the_facts_of_a_phone(phone: Phone) -> None:
    phone.report(thermal_status=2, battery_level=55, usb_powered=False)
    script = AndroidProbe().script(f"{WORKDIR}/not/there/yet")
    ended = AdbTransport().connect(phone_device(phone)).run(["sh", "-c", script], timeout_s=20)
    assert (ended.exit_code, ended.stderr) == (0, b"")
    facts = AndroidProbe().parse(ended.stdout.decode())
    assert (facts.os, facts.os_version, facts.model) == ("android", "14", "Edgedeploy Stand-in Phone")
    assert facts.soc == "Google Tensor G3"
    assert [core.max_hz for core in facts.cores] == [1_700_000_000] * 4 + [2_370_000_000] * 3 + [2_910_000_000]
    assert (facts.thermal_status, facts.throttled) == ("moderate", True)
    assert (facts.battery_percent, facts.battery_charging) == (55, False)
    assert facts.temperatures_c["VIRTUAL-SKIN"] == 34.1
    assert facts.temperatures_c["LITTLE"] == 39.8
    assert facts.memory_total_bytes
    assert facts.storage_free_bytes
    assert facts.properties["ro.product.device"] == "standin"


def test_the_facts_of_an_emulated_arm64_phone(phone_arm64: Phone) -> None:
    ended = AdbTransport().connect(phone_device(phone_arm64)).run(["sh", "-c", AndroidProbe().script(WORKDIR)], timeout_s=60)
    facts = AndroidProbe().parse(ended.stdout.decode())
    assert facts.abi == "android-arm64"
    assert facts.thermal_status == "none"
    assert facts.throttled is False
