"""The same job on phones and boards: a real adbd, a real sshd, aarch64 programs under emulation."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.pipeline.command import EDGEDEPLOY, Run
from standins.adb_server import AdbServer
from standins.board import SshBoard
from standins.phone import Phone, PhoneIdentity
from standins.unauthorized import UnusableDevice

PhoneFactory = Callable[..., Phone]
pytestmark = [pytest.mark.sdk, pytest.mark.standin]

PIXEL = PhoneIdentity(manufacturer="Google", model="Pixel 8", device="shiba", serialno="SHIBA1")


def write_lab(project: Path, name: str, target: str, **keys: object) -> None:
    lines = [f"{key} = {value!r}" for key, value in keys.items()]
    with (project / "lab.toml").open("a") as file:
        file.write("\n".join([f"[devices.{name}]", f'target = "{target}"', *lines, ""]))


def board_keys(board: SshBoard, home: Path) -> dict[str, object]:
    """Know the board's host key, as a user who connected once does."""
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "known_hosts").write_text(board.known_hosts)
    return {"host": board.host, "port": board.port, "user": board.user, "key": str(board.identity_file)}


def check_pass(document: dict, target: str, devices: set[str]) -> None:
    assert {result["device"] for result in document["runs"]} == devices
    for result in document["runs"]:
        assert result["target"] == target
        assert result["verdict"]["status"] == "pass", result
        assert result["device_sha256"] == result["artifact"]["sha256"]
        assert result["verify"]["device"]["sqnr_db"] > 100
        assert len(result["latency_ns"]["samples"]) == 6


def test_phones_are_recognised_and_served_at_once(run: Run, project: Path, phone_factory: PhoneFactory) -> None:
    for number in (1, 2):
        phone_factory(arch="arm64", identity=PhoneIdentity(**{**vars(PIXEL), "serialno": f"SHIBA{number}"}))
    listed = run("devices", "--probe", "--json", cwd=project).document
    phones = [row for row in listed["devices"] if row["device"]["target"] == "pixel8"]
    assert len(phones) == 2
    assert phones[0]["facts"]["abi"] == "android-arm64"
    done = run("push", "--target", "pixel8", "--json", cwd=project)
    assert done.exit_code == 0, done.stderr
    check_pass(done.document, "pixel8", {row["device"]["name"] for row in phones})
    again = run("push", "--target", "pixel8", "--json", cwd=project).document
    assert [result["push"]["bytes_sent"] for result in again["runs"]] == [0, 0]
    one = run("push", "--target", "pixel8", "--device", phones[1]["device"]["name"], "--no-measure", "--json", cwd=project)
    assert len(one.document["runs"]) == 1


def test_a_board_over_ssh(run: Run, project: Path, ssh_board: SshBoard) -> None:
    write_lab(project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    done = run("push", "--target", "linux-x86_64", "--json", cwd=project)
    assert done.exit_code == 0, done.stderr
    check_pass(done.document, "linux-x86_64", {"desk"})
    again = run("push", "--target", "linux-x86_64", "--json", cwd=project).document
    assert again["runs"][0]["push"]["bytes_sent"] == 0


def test_a_raspberry_pi_shaped_board(run: Run, project: Path, pi_board: SshBoard) -> None:
    write_lab(project, "pi", "raspberry-pi-5", **board_keys(pi_board, Path.home()))
    done = run("push", "--target", "raspberry-pi-5", "--json", cwd=project)
    assert done.exit_code == 0, done.stderr
    check_pass(done.document, "raspberry-pi-5", {"pi"})


def test_an_unknown_host_key_is_refused_with_the_way_out(run: Run, project: Path, ssh_board: SshBoard) -> None:
    keys = board_keys(ssh_board, Path.home())
    (Path.home() / ".ssh/known_hosts").unlink()
    write_lab(project, "desk", "linux-x86_64", **keys)
    done = run("push", "--target", "linux-x86_64", "--device", "desk", cwd=project)
    assert done.exit_code == 5
    assert "ssh-keyscan" in done.stderr


def test_a_device_of_another_kind_is_refused(run: Run, project: Path, ssh_board: SshBoard) -> None:
    write_lab(project, "pi", "raspberry-pi-5", **board_keys(ssh_board, Path.home()))
    done = run("push", "--target", "raspberry-pi-5", "--json", cwd=project)
    assert done.exit_code == 5
    assert "linux-x86_64" in done.document["runs"][0]["error"]["seen"]


def test_an_unauthorized_phone_says_what_to_tap(run: Run, project: Path, unauthorized_device: UnusableDevice) -> None:
    write_lab(project, "mine", "pixel8", serial=unauthorized_device.address)
    done = run("push", "--target", "pixel8", "--json", cwd=project)
    assert done.exit_code == 5
    assert "unauthorized" in done.stderr
    assert "Allow" in done.stderr


def test_no_device_at_all(run: Run, project: Path, adb_server: AdbServer) -> None:
    done = run("push", "--target", "pixel9", "--json", cwd=project)
    assert done.exit_code == 2  # the project deploys nothing to it
    done = run("push", "--target", "pixel8", "--json", cwd=project)
    assert done.exit_code == 5
    assert "no unit of pixel8 is reachable" in done.stderr
    assert done.document["schema"] == "edgedeploy.error/1"


def test_a_full_phone_is_told_before_anything_is_sent(run: Run, project: Path, phone_factory: PhoneFactory) -> None:
    phone_factory(arch="arm64", identity=PIXEL, data_size_bytes=8 << 20)
    done = run("push", "--target", "pixel8", "--json", cwd=project)
    assert done.exit_code == 6
    (result,) = done.document["runs"]
    assert "not enough space" in result["error"]["what"]


def test_a_cable_pulled_in_the_middle_leaves_the_old_release(
    run: Run, project: Path, phone_factory: PhoneFactory, adb_server: AdbServer
) -> None:
    phone = phone_factory(arch="arm64", identity=PIXEL)
    store = "/data/local/tmp/edgedeploy"

    def shell(command: str) -> str:
        return adb_server.run("-s", phone.address, "shell", command).stdout.decode()

    assert run("push", "--target", "pixel8", "--no-measure", cwd=project).exit_code == 0
    shell(f"rm -f {store}/blobs/*; ls {store}")
    phone.pull_cable(after_bytes=3_000_000)
    done = run("push", "--target", "pixel8", "--retry-for", "0", "--json", cwd=project)
    assert done.exit_code == 5, done.stdout
    assert done.document["runs"][0]["error"]["retryable"]
    phone.plug_cable()
    adb_server.connect(phone.address)
    assert shell(f"readlink {store}/projects/small/current").strip() == "releases/1"
    assert shell(f"ls {store}/blobs | wc -l").strip() < "9"
    mended = run("push", "--target", "pixel8", "--json", cwd=project)
    assert mended.exit_code == 0, mended.stderr


def test_ctrl_c_ends_all_devices_at_once_and_what_runs_on_them(
    run: Run, project: Path, phone_factory: PhoneFactory, adb_server: AdbServer, cache_home: Path
) -> None:
    phones = [
        phone_factory(arch="arm64", identity=PhoneIdentity(**{**vars(PIXEL), "serialno": f"SHIBA{number}"})) for number in (1, 2)
    ]
    run("export", "--target", "pixel8", cwd=project)
    file = project / "edgedeploy.toml"
    file.write_text(file.read_text().replace("iterations = 3,", "iterations = 1000000, max_seconds = 3600,"))
    process = subprocess.Popen(
        [EDGEDEPLOY, "push", "--target", "pixel8"],
        cwd=project,
        env=os.environ | {"XDG_CACHE_HOME": str(cache_home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    pushed = 0
    for line in process.stderr:
        pushed += "release" in line
        if pushed == 2:
            break
    for phone in phones:
        wait_for(lambda phone=phone: runners(adb_server, phone))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert "interrupted" in process.stderr.read()
    for phone in phones:
        wait_for(lambda phone=phone: not runners(adb_server, phone))
    assert run("history", "--json", cwd=project).document["runs"] == []  # what was broken off is no failure of a device


def test_ctrl_c_ends_the_runner_on_a_board(run: Run, project: Path, ssh_board: SshBoard, cache_home: Path) -> None:
    write_lab(project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    run("export", "--target", "linux-x86_64", cwd=project)
    file = project / "edgedeploy.toml"
    file.write_text(file.read_text().replace("iterations = 3,", "iterations = 10000000, max_seconds = 3600,"))
    process = subprocess.Popen(
        [EDGEDEPLOY, "push", "--target", "linux-x86_64"],
        cwd=project,
        env=os.environ | {"XDG_CACHE_HOME": str(cache_home)},
        stderr=subprocess.PIPE,
        text=True,
    )

    def running() -> list[str]:
        command = ssh_board.ssh_argv("pgrep", "-x", "executorch_runn")  # the kernel keeps 15 characters of a name
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.split()

    wait_for(running)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    wait_for(lambda: not running())


def runners(adb_server: AdbServer, phone: Phone) -> list[str]:
    return adb_server.run("-s", phone.address, "shell", "pgrep -f executorch_runner").stdout.decode().split()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
