"""A device to push to, by edgedeploy and by the programs that everybody has."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from standins.adb_server import AdbServer
from standins.board import SshBoard
from standins.phone import WORKDIR, Phone, PhoneIdentity

from edgedeploy.domain.device import Device

LIMIT_S = 1800
PLACE = "copied"
_ROOM_BYTES = 12 << 30
# Without a processor of its own: that of this machine is none that phones have.
_IDENTITY = PhoneIdentity(more={"ro.product.cpu.abi": ""})


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A device; ``base`` is a folder on it that may be written.

    ``copies`` are command lines that copy a file to it, without the file; ``syncs`` those that copy what changed; ``end`` is what
    comes after the file. ``login`` is a command line that runs a script on it.
    """

    device: Device
    workdir: str
    base: str
    login: tuple[str, ...]
    copies: Mapping[str, tuple[str, ...]]
    syncs: Mapping[str, tuple[str, ...]]
    end: str

    @property
    def name(self) -> str:
        """How it is reached."""
        return self.device.transport

    def lab(self) -> str:
        """Its entry in ``lab.toml``."""
        device = self.device
        if device.transport == "adb":
            keys = {"serial": device.address}
        else:
            keys = {"host": device.address, "user": device.user, "key": device.key}
        lines = [
            f"[devices.{device.name}]",
            f'target = "{device.target}"',
            *(f'{key} = "{value}"' for key, value in keys.items()),
        ]
        return "\n".join([*lines, *([f"port = {device.port}"] if device.port else []), ""])

    def copy(self, way: str, file: Path) -> None:
        """Send a file by one of the other programs."""
        command, said = self._command(way, file)
        subprocess.run(command, check=True, input=said, capture_output=True, timeout=LIMIT_S)

    def copy_and_hash(self, way: str, file: Path) -> None:
        """Send a file by one of the other programs, and hash what arrived, as whoever wants to be sure does."""
        self.copy(way, file)
        self._run(f"sha256sum {self.base}/{PLACE}")

    def empty(self) -> None:
        """Remove everything that was pushed, however it came."""
        self._run(f"cd {self.base} && rm -rf {PLACE} edgedeploy")

    def _run(self, script: str) -> None:
        subprocess.run([*self.login, script], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S)

    def _command(self, way: str, file: Path) -> tuple[list[str], bytes]:
        if way == "sftp":
            return list(self.copies[way]), f"put {file} {PLACE}\n".encode()
        return [*(self.copies | self.syncs)[way], str(file), self.end], b""


def phone_rig(address: str, adb: Path, *, name: str = "phone") -> Rig:
    """A phone that the adb server of this process's environment knows."""
    base = (str(adb), "-s", address)
    return Rig(
        device=Device(name=name, transport="adb", target="bench-phone", address=address),
        workdir=f"{WORKDIR}/edgedeploy",
        base=WORKDIR,
        login=(*base, "shell"),
        copies={"adb push": (*base, "push")},
        syncs={"adb push --sync": (*base, "push", "--sync")},
        end=f"{WORKDIR}/{PLACE}",
    )


def board_rig(host: str, port: int, user: str, key: Path, *, name: str = "board") -> Rig:
    """A board whose host key is in the home folder's ``known_hosts``; rsync is left out where it is not installed."""
    known = Path.home() / ".ssh/known_hosts"
    options = ("-F", "none", "-i", str(key), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none")
    options += ("-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=none")
    who = f"{user}@{host}"
    ssh = ("ssh", *options, "-p", str(port))
    rsync = ("rsync", "--checksum", "--times", "-e", shlex.join(ssh))
    return Rig(
        device=Device(name=name, transport="ssh", target="bench-board", address=host, port=port, user=user, key=str(key)),
        workdir="~/edgedeploy",
        base=f"/home/{user}",
        login=(*ssh, who),
        copies={
            "scp": ("scp", "-q", *options, "-P", str(port)),
            "sftp": ("sftp", "-q", *options, "-P", str(port), "-b", "-", who),
        },
        syncs={"rsync -c": rsync} if shutil.which("rsync") else {},
        end=f"{who}:{PLACE}",
    )


@contextmanager
def phone() -> Iterator[Phone]:
    """A stand-in phone with room."""
    with Phone(identity=_IDENTITY, data_size_bytes=_ROOM_BYTES) as started:
        yield started


@contextmanager
def board() -> Iterator[SshBoard]:
    """A stand-in board with room."""
    with SshBoard(home_size_bytes=_ROOM_BYTES) as started:
        yield started


@contextmanager
def adb_server() -> Iterator[AdbServer]:
    """An adb server that everything which is started meanwhile uses."""
    with AdbServer() as server:
        before = dict(os.environ)
        os.environ.update(server.environment, EDGEDEPLOY_ADB=str(server.adb))
        try:
            yield server
        finally:
            os.environ.clear()
            os.environ.update(before)


def know(lines: str) -> None:
    """Add host keys to the home folder's ``known_hosts``."""
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "known_hosts").open("a", encoding="ascii") as file:
        file.write(lines)


@contextmanager
def on_loopback() -> Iterator[tuple[Rig, ...]]:
    """A phone and a board of this machine."""
    with adb_server() as server, phone() as first, board() as second:
        server.connect(first.address)
        know(second.known_hosts)
        yield phone_rig(first.address, server.adb), board_rig(second.host, second.port, second.user, second.identity_file)
