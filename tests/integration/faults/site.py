"""A stand-in on which things go wrong: its disk is read, filled and damaged from outside, past the transport and past our code."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from integration.transports.rig import board_device, phone_device
from standins.adb_server import AdbServer
from standins.board import SshBoard
from standins.enclosure import Enclosure
from standins.phone import WORKDIR, Phone

from edgedeploy.domain.device import Device
from edgedeploy.domain.target import Os

DISK_BYTES = 64 << 20
MOST_FILES = 1500
_WHOLE_BLOCK = bytes(1 << 20)


@dataclass(kw_only=True)
class Site:
    """``workdir`` is the store's folder as the device names it; ``store`` is the same folder, seen from outside."""

    kind: Literal["adb", "ssh"]
    device: Device
    os: Os
    workdir: str
    store: Path
    cable: Enclosure
    programs: str
    adb: AdbServer | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def _ballast(self) -> Path:
        return self.store.parent / "ballast"

    def save(self, into: Path) -> None:
        """Copy the store as it is."""
        subprocess.run(["cp", "-a", str(self.store), str(into)], check=True, timeout=60)

    def restore(self, saved: Path | None) -> None:
        """Put a copy in the store's place; nothing for None."""
        _remove(self.store)
        if saved is not None:
            subprocess.run(["cp", "-a", str(saved), str(self.store)], check=True, timeout=60)

    def fill_bytes(self) -> None:
        """Leave no room for another byte."""
        self._ballast.mkdir(exist_ok=True)
        for size in (len(_WHOLE_BLOCK), 4096):
            with suppress(OSError), (self._ballast / f"bytes-{size}").open("wb", buffering=0) as file:
                while file.write(_WHOLE_BLOCK[:size]) == size:
                    pass

    def fill_files(self) -> None:
        """Leave no room for another file, link or folder."""
        self._ballast.mkdir(exist_ok=True)
        for number in range(2 * MOST_FILES):
            try:
                (self._ballast / str(number)).touch()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return
        raise AssertionError("the disk takes more files than it was told to")

    def pull(self) -> None:
        self.cable.pull_cable()

    def cut_power(self) -> None:
        self.cable.stop()

    def kill_server(self) -> None:
        """Kill adbd, or sshd with its sessions; what they had started may go on for a while.

        All are stopped first: one that is forked meanwhile would live on, with the port that nobody else could listen at.
        """
        stopped: set[int] = set()
        while new := self._servers() - stopped:
            for pid in new:
                with suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new
        for pid in stopped:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _servers(self) -> set[int]:
        ours = Path(f"/proc/{self.cable.first_pid}/ns/pid").readlink()
        found = set()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                name = (entry / "comm").read_text().strip() if entry.name.isdigit() else ""
                if name.startswith(self.programs) and (entry / "ns/pid").readlink() == ours:
                    found.add(int(entry.name))
        return found

    def restart_adb_server(self) -> None:
        if self.adb is not None:
            self.adb.restart()

    def mend(self) -> None:
        """The cable is in, the device runs, and its disk has room."""
        _remove(self._ballast)
        if not self.cable.running:
            self.cable.start()
        else:
            self.cable.plug_cable()


@contextmanager
def phone_site(adb: AdbServer) -> Iterator[Site]:
    """A phone with a small disk."""
    with Phone(data_size_bytes=DISK_BYTES, data_most_files=MOST_FILES) as phone:
        yield Site(
            kind="adb",
            device=phone_device(phone),
            os="android",
            workdir=f"{WORKDIR}/edgedeploy",
            store=phone.workdir / "edgedeploy",
            cable=phone.cable,
            programs="adbd",
            adb=adb,
            environment={**adb.environment, "PATH": f"{adb.adb.parent}{os.pathsep}{os.environ['PATH']}"},
        )


@contextmanager
def board_site(folder: Path) -> Iterator[Site]:
    """A board with a small disk; ``folder`` becomes the home of whoever logs in to it."""
    with ExitStack() as stack:
        board = stack.enter_context(SshBoard(home_size_bytes=DISK_BYTES, home_most_files=MOST_FILES))
        (folder / ".ssh").mkdir(parents=True, mode=0o700)
        (folder / ".ssh/known_hosts").write_text(board.known_hosts, encoding="ascii")
        yield Site(
            kind="ssh",
            device=board_device(board),
            os="linux",
            workdir="~/edgedeploy",
            store=board.home_outside / "edgedeploy",
            cable=board.cable,
            programs="sshd",
            environment={"HOME": str(folder)},
        )


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    assert not folder.exists(), f"{folder} cannot be removed"
