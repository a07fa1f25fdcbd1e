"""The Linux probe on this machine and on a Raspberry-Pi-shaped arm64 root."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from integration.transports.rig import board_device
from standins.board import SshBoard

from edgedeploy.probes.linux import LinuxProbe
from edgedeploy.transports.local import LocalConnection
from edgedeploy.transports.ssh import SshTransport


def test_this_machine(tmp_path: Path) -> None:
    ended = LocalConnection("here").run(["sh", "-c", LinuxProbe().script(str(tmp_path / "a b" / "c"))], timeout_s=20)
    assert (ended.exit_code, ended.stderr) == (0, b"")
    facts = LinuxProbe().parse(ended.stdout.decode())
    uname = subprocess.run(["uname", "-srm"], capture_output=True, check=True, text=True, timeout=20).stdout.split()
    assert (facts.kernel, facts.abi) == (uname[1], f"linux-{uname[2]}")
    assert facts.os == "linux"
    assert facts.cores
    assert facts.memory_available_bytes
    assert facts.memory_total_bytes
    assert facts.memory_available_bytes < facts.memory_total_bytes
    assert facts.storage_free_bytes
    assert facts.load_average_1m is not None


@pytest.mark.parametrize("workdir", ["relative", "", "/", "//x", "/no/such/thing at all"])
def test_a_workdir_of_any_kind(workdir: str) -> None:
    ended = LocalConnection("here").run(["sh", "-c", LinuxProbe().script(workdir)], timeout_s=20)
    assert LinuxProbe().parse(ended.stdout.decode()).storage_free_bytes


def test_a_raspberry_pi(pi_board: SshBoard) -> None:
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(pi_board.known_hosts, encoding="ascii")
    pi_board.set_throttled(0x50005)
    connection = SshTransport().connect(board_device(pi_board))
    ended = connection.run(["sh", "-c", LinuxProbe().script(pi_board.home)], timeout_s=60)
    connection.close()
    assert (ended.exit_code, ended.stderr) == (0, b"")
    facts = LinuxProbe().parse(ended.stdout.decode())
    assert facts.model == "Raspberry Pi 4 Model B Rev 1.5"
    assert facts.soc == "BCM2711"
    assert facts.abi == "linux-aarch64"
    assert [core.max_hz for core in facts.cores] == [1_800_000_000] * 4
    assert facts.cores[0].governor == "ondemand"
    assert facts.temperatures_c["cpu-thermal"] == 48.686
    assert (facts.throttled, facts.thermal_status) == (True, "under-voltage, throttled")
    assert facts.properties["vcgencmd.get_throttled"] == "0x50005"
    assert facts.properties["os-release.ID"] == "debian"
