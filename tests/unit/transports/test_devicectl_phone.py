"""What devicectl does with an open phone. The phone, xcrun and our app are stand-ins (tests/standins/iphone); sh is real."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from standins.iphone import APP, FILES, UDID, Iphone

from edgedeploy.deploy.feed import file_feed
from edgedeploy.domain.device import Device
from edgedeploy.errors import (
    CommandTimeoutError,
    DeviceAbsentError,
    DeviceError,
    DeviceRunError,
    DeviceStorageError,
    DeviceUnavailableError,
    MissingToolError,
    UsageError,
)
from edgedeploy.ports import RUNNER_APP, AppConnection
from edgedeploy.transports import devicectl_mac
from edgedeploy.transports.devicectl_documents import apps, files
from edgedeploy.transports.devicectl_failure import signal_in, trouble_in
from edgedeploy.transports.devicectl_mac import Mac
from edgedeploy.transports.devicectl_phone import PhoneConnection
from edgedeploy.transports.local import LocalConnection

FIXTURES = Path(__file__).parents[2] / "fixtures/devicectl"


@pytest.fixture
def iphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iphone:
    made = Iphone(tmp_path / "ma c")
    monkeypatch.setenv("PATH", f"{made.programs}:/usr/bin:/bin")
    return made


@pytest.fixture
def phone(iphone: Iphone) -> PhoneConnection:
    return PhoneConnection(Mac(LocalConnection("this Mac"), Device(name="desk", transport="devicectl", address=UDID)))


def send(phone: PhoneConnection, file: Path, remote: str) -> list[int]:
    seen: list[int] = []
    with file_feed(file) as feed:
        phone.put(feed, f"{FILES}/{remote}", size_bytes=file.stat().st_size, progress=seen.append)
    return seen


def test_recorded_listings() -> None:
    listed = files((FIXTURES / "files.json").read_bytes())
    assert listed == {"edgedeploy/blobs/0a1b": 5242880, "edgedeploy/projects/small/current/1-1-0": 5}
    assert apps((FIXTURES / "apps.json").read_bytes()) == ("com.example.other", APP)


def test_files_go_there_and_come_back(phone: PhoneConnection, iphone: Iphone, tmp_path: Path) -> None:
    assert isinstance(phone, AppConnection)
    file = tmp_path / "it's 模型"
    file.write_bytes(b"weights")
    assert sum(send(phone, file, "blobs/a b'c")) == 7
    assert phone.files() == {f"{FILES}/blobs/a b'c": 7}
    phone.fetch(f"{FILES}/blobs/a b'c", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"weights"
    with pytest.raises(DeviceRunError, match="cannot read"):
        phone.fetch(f"{FILES}/blobs/gone", tmp_path / "gone")
    assert not (tmp_path / "gone").exists()
    copied = next(line for line in iphone.asked if line.startswith("device copy to"))
    assert copied.startswith(
        f"device copy to --device {UDID} --domain-type appDataContainer --domain-identifier {APP} --source /"
    )
    assert "--timeout 120 --json-output /" in copied
    assert "--remove-existing-content" not in "".join(iphone.asked)


def test_a_file_of_the_same_size_is_replaced(phone: PhoneConnection, iphone: Iphone, tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"one", b"two"):
        file.write_bytes(content)
        send(phone, file, "blobs/x")
        # devicectl leaves alone what has the same size and time: the second copy has to be another file, made later.
        there = iphone.files / "blobs/x"
        assert there.read_bytes() == content
        os.utime(there, (1_000_000_000, 1_000_000_000))


def test_only_the_app_runs_there(phone: PhoneConnection, iphone: Iphone) -> None:
    done = phone.run([RUNNER_APP, "--facts"], timeout_s=30)
    assert done.exit_code == 0
    assert b'"iPhone15,4"' in done.stdout
    launched = next(line for line in iphone.asked if "launch" in line)
    assert f"device process launch --device {UDID} --terminate-existing --console --timeout 31 --json-output /" in launched
    assert f" -- {APP} --document {FILES}/runs/" in launched
    for argv in (["sh", "-c", "ls"], ["df"]):
        with pytest.raises(DeviceUnavailableError, match="has no shell") as caught:
            phone.run(argv, timeout_s=5)
        assert caught.value.exit_code == 5
        assert not caught.value.retryable


def test_an_app_that_died_of_a_signal(phone: PhoneConnection, iphone: Iphone) -> None:
    iphone.change(crashes=True)
    done = phone.run([RUNNER_APP, "--model", "m"], timeout_s=30)
    assert done.exit_code == 128 + 6
    assert done.stdout == b""


def test_an_app_that_hangs_is_ended(phone: PhoneConnection, iphone: Iphone, monkeypatch: pytest.MonkeyPatch) -> None:
    iphone.change(hangs=True)
    monkeypatch.setattr(devicectl_mac, "_SLACK_S", 0.5)  # devicectl's own limit is one second: the stand-in keeps none
    with pytest.raises(CommandTimeoutError):
        phone.run([RUNNER_APP, "--model", "m"], timeout_s=0.1)
    until = time.monotonic() + 5
    while not is_dead(iphone.hung) and time.monotonic() < until:
        time.sleep(0.01)  # a signal takes its time on a busy machine
    assert is_dead(iphone.hung)


def is_dead(process: int) -> bool:
    """Gone, or a zombie: its parent is gone as well, and nobody asks for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("state", "error", "what"),
    [
        ({"apps": ["com.example.other"]}, DeviceUnavailableError, "app is not installed"),
        ({"apps": ["a.edgedeploy-runner", "b.edgedeploy-runner"]}, UsageError, "more than once"),
        ({"locked": True}, DeviceUnavailableError, "locked"),
    ],
)
def test_what_keeps_the_app_from_us(
    phone: PhoneConnection, iphone: Iphone, state: dict[str, object], error: type[Exception], what: str
) -> None:
    iphone.change(**state)
    for call in (lambda: phone.run([RUNNER_APP, "--facts"], timeout_s=30), phone.files):
        with pytest.raises(error, match=what) as caught:
            call()
        assert caught.value.next_step


def test_a_full_phone_and_a_cable_that_is_pulled(phone: PhoneConnection, iphone: Iphone, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    iphone.change(free_bytes=10)
    with pytest.raises(DeviceStorageError, match="full"):
        send(phone, file, "blobs/x")
    iphone.change(free_bytes=None, cut={"in": "blobs/", "after_bytes": 30})
    with pytest.raises(DeviceError) as caught:
        send(phone, file, "blobs/x")
    assert isinstance(caught.value, DeviceAbsentError)
    assert caught.value.retryable
    assert phone.files() == {f"{FILES}/blobs/x": 30}
    send(phone, file, "blobs/x")
    assert phone.files() == {f"{FILES}/blobs/x": 100}


def test_nothing_is_left_on_the_mac(phone: PhoneConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    file = tmp_path / "file"
    file.write_bytes(b"x")
    send(phone, file, "blobs/x")
    phone.fetch(f"{FILES}/blobs/x", tmp_path / "back")
    phone.run([RUNNER_APP, "--facts"], timeout_s=30)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_mac_without_xcode_while_a_file_is_sent(phone: PhoneConnection, iphone: Iphone, tmp_path: Path) -> None:
    assert phone.files() == {}
    (iphone.programs / "xcode-select").write_text("#!/bin/sh\nexit 2\n", encoding="ascii")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(MissingToolError):
        send(phone, file, "blobs/x")


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (
            "The requested application com.me.edgedeploy-runner is not installed. (FBSOpenApplicationServiceErrorDomain 1)",
            "no-app",
        ),
        (
            "Unable to launch com.me.x because it has an invalid code signature, inadequate entitlements or its profile",
            "untrusted",
        ),
        ("its profile has not been explicitly trusted by the user.", "untrusted"),
        ("The file could not be written: No space left on device", "full"),
        ("The connection was interrupted. (com.apple.Mercury.error 1001)", None),
    ],
)
def test_what_apples_words_mean(said: str, trouble: str | None) -> None:
    assert trouble_in(said) == trouble


def test_the_signal_is_the_last_that_is_told() -> None:
    assert signal_in("Launched application\nApp terminated due to signal 9.\n") == 9
    assert signal_in("it says: App terminated due to signal 9") == 0
