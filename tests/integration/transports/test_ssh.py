"""What is particular to SSH: who the board is, who we are, and what becomes of a board that hangs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from integration.transports.rig import board_device
from standins.board import PASSPHRASE, SshBoard

from edgedeploy.deploy.feed import file_feed
from edgedeploy.domain.device import Device
from edgedeploy.errors import DeviceError, DeviceLostError, DeviceUnavailableError
from edgedeploy.transports import ssh_exec
from edgedeploy.transports.ssh import SshTransport
from edgedeploy.transports.ssh_link import HostKeyError
from edgedeploy.transports.ssh_login import LoginRefusedError


@pytest.fixture
def ssh_folder() -> Path:
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _add_to_agent(key: Path, tmp_path: Path, passphrase: str = "") -> None:
    asker = tmp_path / "asker"
    asker.write_text(f"#!/bin/sh\necho '{passphrase}'\n", encoding="ascii")
    asker.chmod(0o700)
    environment = {**os.environ, "SSH_ASKPASS": str(asker), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment, stdin=subprocess.DEVNULL, timeout=20)


# --- who the board is ---------------------------------------------------------------------------------------------


def test_an_unknown_board_is_refused_and_the_printed_command_makes_it_known(ssh_board: SshBoard, ssh_folder: Path) -> None:
    device = board_device(ssh_board)
    with pytest.raises(HostKeyError, match="not known") as caught:
        SshTransport().connect(device)
    public = Path(f"{ssh_board.identity_file}").parent / "settings/host_ed25519.pub"
    shown = subprocess.run(["ssh-keygen", "-lf", str(public)], capture_output=True, check=True, timeout=20, text=True)
    assert shown.stdout.split()[1] in caught.value.seen
    assert not (ssh_folder / "known_hosts").exists()
    assert SshTransport().state(device).state == "unauthorized"

    command = caught.value.next_step.rpartition(": ")[2]
    subprocess.run(["sh", "-c", command], check=True, timeout=20, stderr=subprocess.DEVNULL)
    SshTransport().connect(device).close()


def test_a_board_with_another_key_is_refused_loudly(trusted_board: SshBoard) -> None:
    device = board_device(trusted_board)
    SshTransport().connect(device).close()
    trusted_board.replace_host_keys()
    with pytest.raises(HostKeyError, match="HAS CHANGED") as caught:
        SshTransport().connect(device)
    known = Path.home() / ".ssh/known_hosts"
    assert f"ssh-keygen -R '[127.0.0.1]:{trusted_board.port}'" in caught.value.next_step
    command = caught.value.next_step.partition("new key: ")[2]
    subprocess.run(["sh", "-c", command], check=True, timeout=20, capture_output=True)
    assert known.is_file()
    SshTransport().connect(device).close()


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_a_board_known_by_one_kind_of_key_only(ssh_board: SshBoard, ssh_folder: Path, kind: str) -> None:
    lines = [line for line in ssh_board.known_hosts.splitlines() if line.split()[1] == kind]
    assert len(lines) == 1
    (ssh_folder / "known_hosts").write_text(lines[0] + "\n", encoding="ascii")
    connection = SshTransport().connect(board_device(ssh_board))
    assert connection.host_key.kind == kind
    connection.close()


def test_hashed_known_hosts(ssh_board: SshBoard, ssh_folder: Path) -> None:
    known = ssh_folder / "known_hosts"
    known.write_text(ssh_board.known_hosts, encoding="ascii")
    subprocess.run(["ssh-keygen", "-H", "-f", str(known)], check=True, capture_output=True, timeout=20)
    assert str(ssh_board.port) not in known.read_text(encoding="ascii")
    SshTransport().connect(board_device(ssh_board)).close()


def test_a_revoked_key(ssh_board: SshBoard, ssh_folder: Path) -> None:
    revoked = "".join(f"@revoked {line}\n" for line in ssh_board.known_hosts.splitlines())
    (ssh_folder / "known_hosts").write_text(ssh_board.known_hosts + revoked, encoding="ascii")
    with pytest.raises(HostKeyError, match="REVOKED"):
        SshTransport().connect(board_device(ssh_board))


# --- who we are ---------------------------------------------------------------------------------------------------


def test_an_alias_of_the_ssh_configuration(ssh_board: SshBoard, ssh_folder: Path, tmp_path: Path) -> None:
    known = tmp_path / "my hosts"
    known.write_text(ssh_board.known_hosts, encoding="ascii")
    (ssh_folder / "config").write_text(
        f"Host desk-pi\n  HostName {ssh_board.host}\n  Port {ssh_board.port}\n  User {ssh_board.user}\n"
        f'  IdentityFile {ssh_board.identity_file}\n  UserKnownHostsFile "{known}"\n',
        encoding="ascii",
    )
    connection = SshTransport().connect(Device(name="pi", transport="ssh", address="desk-pi"))
    assert connection.run(["whoami"], timeout_s=20).stdout.decode().strip() == ssh_board.user
    connection.close()


def test_a_proxy_command_and_its_death(ssh_board: SshBoard, trusted_board: SshBoard, ssh_folder: Path) -> None:
    relay = (
        "import socket,sys,threading;s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "i=socket.socket(fileno=0)\n"
        "def go(a,b):\n"
        " while d:=a.recv(65536): b.sendall(d)\n"
        " import os;os._exit(0)\n"
        "threading.Thread(target=go,args=(i,s)).start();go(s,i)\n"
    )
    program = ssh_folder / "relay.py"
    program.write_text(relay, encoding="ascii")
    (ssh_folder / "config").write_text(f"Host *\n  ProxyCommand {sys.executable} {program} %h %p\n", encoding="ascii")
    connection = SshTransport().connect(board_device(ssh_board))
    assert connection.run(["echo", "through"], timeout_s=20).stdout == b"through\n"
    trusted_board.pull_cable()
    with pytest.raises(DeviceLostError):
        connection.run(["true"], timeout_s=10)
    connection.close()


def test_a_key_the_board_does_not_know(trusted_board: SshBoard) -> None:
    device = board_device(trusted_board, key=str(trusted_board.stranger_identity_file))
    with pytest.raises(LoginRefusedError) as caught:
        SshTransport().connect(device)
    assert str(trusted_board.stranger_identity_file) in caught.value.seen
    assert "ssh-copy-id" in caught.value.next_step
    assert SshTransport().state(device).state == "unauthorized"


def test_a_key_file_that_is_not_there(trusted_board: SshBoard) -> None:
    with pytest.raises(LoginRefusedError) as caught:
        SshTransport().connect(board_device(trusted_board, key="~/no-such-key"))
    assert "there is no key file" in caught.value.seen


@pytest.mark.usefixtures("agent")
def test_an_encrypted_key_needs_the_agent(trusted_board: SshBoard, tmp_path: Path) -> None:
    device = board_device(trusted_board, key=str(trusted_board.encrypted_identity_file))
    with pytest.raises(LoginRefusedError) as caught:
        SshTransport().connect(device)
    assert caught.value.next_step == f"ssh-add {trusted_board.encrypted_identity_file}"
    _add_to_agent(trusted_board.encrypted_identity_file, tmp_path, PASSPHRASE)
    SshTransport().connect(device).close()


@pytest.mark.usefixtures("agent")
def test_a_key_that_only_the_agent_has(trusted_board: SshBoard, tmp_path: Path) -> None:
    _add_to_agent(trusted_board.stranger_identity_file, tmp_path)
    _add_to_agent(trusted_board.identity_file, tmp_path)
    SshTransport().connect(board_device(trusted_board, key="")).close()


def test_keys_of_every_kind_in_the_usual_place(trusted_board: SshBoard, ssh_folder: Path) -> None:
    """The board takes none of them; each has to be loaded and tried."""
    for kind in ("rsa", "ecdsa", "ed25519"):
        made = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(ssh_folder / f"id_{kind}")]
        subprocess.run(made, check=True, timeout=60)
    with pytest.raises(LoginRefusedError) as caught:
        SshTransport().connect(board_device(trusted_board, key=""))
    for kind in ("rsa", "ecdsa", "ed25519"):
        assert f"id_{kind}" in caught.value.seen.partition(";")[0]


# --- boards that are not there, or hang ---------------------------------------------------------------------------


def test_nobody_listens_no_such_name_and_no_ssh(unused_port: int) -> None:
    device = Device(name="b", transport="ssh", address="127.0.0.1", port=unused_port, user="u")
    with pytest.raises(DeviceUnavailableError, match="nothing listens"):
        SshTransport().connect(device)
    with pytest.raises(DeviceUnavailableError, match="not known"):
        SshTransport().connect(Device(name="b", transport="ssh", address="no-such-host.invalid", user="u"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        web = Device(name="b", transport="ssh", address="127.0.0.1", port=server.getsockname()[1], user="u")
        answer = threading.Thread(target=_answer_like_a_web_server, args=(server,))
        answer.start()
        with pytest.raises(DeviceUnavailableError, match="does not complete an SSH handshake"):
            SshTransport().connect(web)
        answer.join()


def _answer_like_a_web_server(server: socket.socket) -> None:
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        return int(finder.getsockname()[1])


def test_a_board_that_falls_silent_is_noticed(trusted_board: SshBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_exec, "_QUIET_S", 1.0)
    connection = SshTransport().connect(board_device(trusted_board))
    # A quiet board that lives is left in peace.
    assert connection.run(["sleep", "4"], timeout_s=20).exit_code == 0
    stall = threading.Timer(0.5, trusted_board.cable.stall)
    stall.start()
    started = time.monotonic()
    try:
        with pytest.raises(DeviceLostError) as caught:
            connection.run(["sleep", "60"], timeout_s=50)
    finally:
        stall.join()
        trusted_board.cable.flow()
    assert time.monotonic() - started < 10
    assert "has not answered" in caught.value.seen
    connection.close()


def test_a_transfer_that_stalls_is_given_up(trusted_board: SshBoard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ssh_exec, "_QUIET_S", 0.7)
    source = tmp_path / "source"
    source.write_bytes(bytes(32 << 20))
    connection = SshTransport().connect(board_device(trusted_board))
    stalled: list[int] = []

    def stall_once(count: int) -> None:
        if not stalled:
            trusted_board.cable.stall()
        stalled.append(count)

    try:
        with file_feed(source) as feed, pytest.raises(DeviceLostError) as caught:
            # Slow enough to be still under way when the first progress is told.
            argv = ["sh", "-c", "while dd bs=65536 count=1 of=/dev/null 2>/dev/null; do sleep 0.05; done"]
            connection.pour(argv, feed, quiet_s=60, progress=stall_once)
    finally:
        trusted_board.cable.flow()
    assert "not answered" in caught.value.seen
    connection.close()


def test_a_full_disk(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(8 << 20))
    with SshBoard(home_size_bytes=2 << 20) as board:
        folder = Path.home() / ".ssh"
        folder.mkdir(mode=0o700)
        (folder / "known_hosts").write_text(board.known_hosts, encoding="ascii")
        connection = SshTransport().connect(board_device(board))
        with file_feed(source) as feed:
            done = connection.pour(["dd", f"of={board.home}/file"], feed, quiet_s=20, progress=lambda _count: None)
        assert done.exit_code == 1
        assert b"No space left on device" in done.stderr
        assert connection.run(["true"], timeout_s=20).exit_code == 0
        connection.close()


def test_nothing_of_paramiko_reaches_the_user(trusted_board: SshBoard, tmp_path: Path) -> None:
    """In a process of its own: the log of a failed handshake and of a torn connection must not show."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from edgedeploy.domain.device import Device\n"
        "from edgedeploy.errors import DeviceError\n"
        "from edgedeploy.transports.ssh import SshTransport\n"
        "port, user, key = sys.argv[1:]\n"
        "device = Device(name='b', transport='ssh', address='127.0.0.1', port=int(port), user=user, key=key)\n"
        "connection = SshTransport().connect(device)\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    connection.run(['sleep', '60'], timeout_s=50)\n"
        "except DeviceError: print('lost')\n"
        "try:\n"
        "    SshTransport().connect(device)\n"
        "except DeviceError: print('unavailable')\n",
        encoding="ascii",
    )
    argv = [sys.executable, str(program), str(trusted_board.port), trusted_board.user]
    process = subprocess.Popen(
        [*argv, str(trusted_board.identity_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    trusted_board.pull_cable()
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("lost\nunavailable\n", "")


def test_two_connections_do_not_disturb_each_other(trusted_board: SshBoard) -> None:
    device = board_device(trusted_board)
    first, second = SshTransport().connect(device), SshTransport().connect(device)
    first.close()
    first.close()
    assert second.run(["echo", "here"], timeout_s=20).stdout == b"here\n"
    with pytest.raises(DeviceError):
        first.run(["true"], timeout_s=20)
    second.close()
