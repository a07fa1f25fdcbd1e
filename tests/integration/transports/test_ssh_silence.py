"""Boards that fall silent while something goes on, and ways through other machines. Limits are shortened; nothing is timed."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from integration.transports.rig import board_device
from standins.board import SshBoard

from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceAbsentError, DeviceLostError, DeviceUnavailableError
from edgedeploy.transports import ssh_exec, ssh_link
from edgedeploy.transports.ssh import SshTransport
from edgedeploy.transports.ssh_link import HostKeyError


@pytest.fixture
def board(trusted_board: SshBoard) -> Iterator[SshBoard]:
    yield trusted_board
    trusted_board.cable.flow()


def test_silence_instead_of_a_greeting(board: SshBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_link, "CONNECT_S", 0.5)
    board.cable.stall()
    with pytest.raises(DeviceAbsentError, match="does not complete an SSH handshake") as caught:
        SshTransport().connect(board_device(board))
    assert caught.value.seen == "no answer for 0.5 s"


@pytest.mark.parametrize("attempt", ["auth_none", "auth_publickey"])
def test_silence_during_the_login(board: SshBoard, monkeypatch: pytest.MonkeyPatch, attempt: str) -> None:
    monkeypatch.setattr(ssh_link, "CONNECT_S", 1.0)
    for kind in ("rsa", "ecdsa", "ed25519"):
        shutil.copy(board.stranger_identity_file, Path.home() / f".ssh/id_{kind}")
    real = getattr(paramiko.Transport, attempt)
    tries: list[str] = []

    def stalled(transport: paramiko.Transport, *arguments: object) -> object:
        tries.append(attempt)
        board.cable.stall()
        return real(transport, *arguments)

    monkeypatch.setattr(paramiko.Transport, attempt, stalled)
    with pytest.raises(DeviceAbsentError, match="broke off while we logged in") as caught:
        SshTransport().connect(board_device(board, key=""))
    assert caught.value.seen == "no answer for 1 s"
    assert tries == [attempt]


@pytest.mark.parametrize("step", ["open_channel", "_start"])
def test_silence_when_a_command_is_to_start(board: SshBoard, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(ssh_exec, "CHANNEL_S", 0.5)
    real = getattr(ssh_exec, step)

    def stalled(*arguments: object) -> object:
        board.cable.stall()
        return real(*arguments)

    connection = SshTransport().connect(board_device(board))
    monkeypatch.setattr(ssh_exec, step, stalled)
    with pytest.raises(DeviceLostError, match="went away while running true"):
        connection.run(["true"], timeout_s=60)
    connection.close()


def test_silence_while_a_file_comes(board: SshBoard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ssh_exec, "_QUIET_S", 0.5)
    connection = SshTransport().connect(board_device(board))
    fifo = f"{board.home}/fifo"
    connection.run(["mkfifo", fifo], timeout_s=20)
    stall = threading.Timer(0.3, board.cable.stall)
    stall.start()
    with pytest.raises(DeviceLostError, match="went away"):
        connection.fetch(fifo, tmp_path / "file")
    stall.join()
    connection.close()
    assert not (tmp_path / "file").exists()


@pytest.fixture
def behind_a_gate(board: SshBoard) -> Device:
    """A machine that only another one reaches. Both are the one board: it is gone through, and logged in to again."""
    known = Path.home() / ".ssh/known_hosts"
    inside = board.known_hosts.replace(f"[{board.host}]:{board.port} ", "127.0.0.1 ")
    known.write_text(board.known_hosts + inside, encoding="ascii")
    (known.parent / "config").write_text(
        f"Host gate\n  HostName {board.host}\n  Port {board.port}\n  UserKnownHostsFile {known}\n"
        "Host inner\n  HostName 127.0.0.1\n  Port 22\n  ProxyJump gate\n"
        f"Host *\n  User {board.user}\n  IdentityFile {board.identity_file}\n  IdentitiesOnly yes\n",
        encoding="ascii",
    )
    return Device(name="inner", transport="ssh", address="inner")


def test_through_another_machine(behind_a_gate: Device, board: SshBoard) -> None:
    connection = SshTransport().connect(behind_a_gate)
    assert connection.run(["echo", "through"], timeout_s=20).stdout == b"through\n"
    board.pull_cable()
    with pytest.raises(DeviceLostError):
        connection.run(["true"], timeout_s=20)
    connection.close()


def test_the_machine_in_between_is_not_known(behind_a_gate: Device) -> None:
    config = Path.home() / ".ssh/config"
    told = config.read_text(encoding="ascii")
    config.write_text(told.replace(str(Path.home() / ".ssh/known_hosts"), "/dev/null"), encoding="ascii")
    with pytest.raises(DeviceUnavailableError) as caught:
        SshTransport().connect(behind_a_gate)
    assert "Host key verification failed" in caught.value.seen
    assert not caught.value.retryable


def test_an_authority_that_vouches_for_a_board_is_named(board: SshBoard) -> None:
    known = Path.home() / ".ssh/known_hosts"
    known.write_text("".join(f"@cert-authority {line}\n" for line in board.known_hosts.splitlines()), encoding="ascii")
    with pytest.raises(HostKeyError, match="not known") as caught:
        SshTransport().connect(board_device(board))
    assert "@cert-authority" in caught.value.seen
