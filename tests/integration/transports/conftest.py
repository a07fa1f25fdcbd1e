"""One connection of each kind, for the contract that all of them keep."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.transports.rig import Rig, board_device, phone_device
from standins.board import SshBoard
from standins.phone import WORKDIR, Phone

from edgedeploy.transports.adb import AdbTransport
from edgedeploy.transports.local import LocalTransport
from edgedeploy.transports.ssh import SshTransport


@pytest.fixture
def trusted_board(ssh_board: SshBoard) -> Iterator[SshBoard]:
    """A board whose host keys this test's home knows; its cable is in again when the test is over."""
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(ssh_board.known_hosts, encoding="ascii")
    yield ssh_board
    ssh_board.plug_cable()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An agent without keys, which ssh-add and we use."""
    sock = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(sock)], stdout=subprocess.DEVNULL)
    while not sock.exists():
        assert process.poll() is None
        time.sleep(0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(sock))
    yield
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(params=["local", "ssh", "adb"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Each transport in turn."""
    if request.param == "local":
        made = _local_rig(tmp_path)
    elif request.param == "ssh":
        made = _ssh_rig(request.getfixturevalue("trusted_board"))
    else:
        made = _adb_rig(request.getfixturevalue("phone"))
    yield made
    made.connection.close()


def _local_rig(tmp_path: Path) -> Rig:
    transport = LocalTransport()
    (device,) = transport.discover()
    folder = tmp_path / "device"
    folder.mkdir()
    return Rig(
        kind="local",
        transport=transport,
        device=device,
        connection=transport.connect(device),
        folder=str(folder),
        pull_cable=None,
    )


def _ssh_rig(board: SshBoard) -> Rig:
    transport, device = SshTransport(), board_device(board)
    return Rig(
        kind="ssh",
        transport=transport,
        device=device,
        connection=transport.connect(device),
        folder=board.home,
        pull_cable=board.pull_cable,
        plug_cable=board.plug_cable,
    )


def _adb_rig(phone: Phone) -> Rig:
    transport, device = AdbTransport(), phone_device(phone)
    return Rig(
        kind="adb",
        transport=transport,
        device=device,
        connection=transport.connect(device),
        folder=WORKDIR,
        pull_cable=phone.pull_cable,
        plug_cable=phone.plug_cable,
    )
