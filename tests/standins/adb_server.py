"""An adb server of the tests' own: the developer's server, and the phones on it, are not touched."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from standins.enclosure import Enclosure, Service, tmpfs
from standins.unavailable import StandinUnavailableError

_START_TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 30.0
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING = "0A"


def adb_program() -> Path:
    """The adb client in the adbutils wheel, so that every machine tests with the same one; else the one on PATH."""
    found = find_spec("adbutils")
    if found is not None and found.origin is not None:
        carried = Path(found.origin).parent / "binaries" / "adb"
        if carried.is_file():
            return carried
    on_path = shutil.which("adb")
    if on_path is None:
        raise StandinUnavailableError("there is no adb here", next_step="pip install adbutils")
    return Path(on_path)


class AdbServer:
    """A running adb server while inside ``with``, on a free port, without USB, emulators or mDNS.

    ``environment`` is what makes any adb client use it, edgedeploy's included.
    """

    def __init__(self) -> None:
        self.adb = adb_program()
        self.port = 0
        self._home = Path("/nonexistent")
        self._enclosure: Enclosure | None = None

    def __enter__(self) -> Self:
        with socket.socket() as finder:
            finder.bind(("127.0.0.1", 0))
            self.port = int(finder.getsockname()[1])
        scratch = Path(tempfile.mkdtemp(prefix="standin-adb-"))
        self._home = scratch
        usb = Path("/dev/bus/usb")
        # On this machine's network, and in an enclosure for the sake of what happens when the tests are killed.
        enclosure = Enclosure(
            service=Service(
                argv=[str(self.adb), "-L", f"tcp:localhost:{self.port}", "server", "nodaemon"],
                env={"PATH": os.defpath, "HOME": str(scratch), "TMPDIR": str(scratch), **self.environment},
                port=0,
            ),
            steps=[tmpfs(usb)] if usb.is_dir() else [],
            inside_uid=os.geteuid(),
            private_network=False,
            scratch=scratch,
        )
        self._enclosure = enclosure.__enter__()
        try:
            self._wait_until_listening(time.monotonic() + _START_TIMEOUT_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that lead every adb client to this server."""
        return {
            "ANDROID_ADB_SERVER_ADDRESS": "127.0.0.1",
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ADB_SERVER_SOCKET": f"tcp:localhost:{self.port}",
            "ANDROID_USER_HOME": str(self._home),
            # For the server; the scan of odd ports would find other programs' ports and call them emulators.
            "ADB_USB": "0",
            "ADB_EMU": "0",
            "ADB_MDNS": "0",
            "ADB_MDNS_AUTO_CONNECT": "0",
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5555",
        }

    def kill(self) -> None:
        """Kill the server. Any client that is used now starts one of its own."""
        self._running.stop()

    def restart(self) -> None:
        """Kill the server and start it anew; it knows no phones then.

        A client of somebody's that found none meanwhile may have started one, outside of the enclosure: that goes, too, or ours
        could not listen, and whoever asked would be answered by the other one.
        """
        self._running.stop()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._running.running:
            self._end_foreign_server()
            self._running.start()
            self._wait_until_listening(deadline)

    @property
    def _running(self) -> Enclosure:
        if self._enclosure is None:
            raise RuntimeError("the adb server is used outside of its with block")
        return self._enclosure

    def _wait_until_listening(self, deadline: float) -> None:
        """Until ours does, or has ended because somebody else does."""
        while not self._ours_listens():
            foreign = not self._running.running and self._is_answered()
            if foreign and time.monotonic() < deadline:
                return
            if not self._running.running or time.monotonic() > deadline:
                seen = self._running.log.read_text(encoding="utf-8", errors="replace")
                raise StandinUnavailableError(
                    f"the adb server did not start:\n{seen[-2000:]}", next_step=f"run {self.adb} version"
                )
            time.sleep(0.02)

    def _ours_listens(self) -> bool:
        """Whether the one in the enclosure does: beside another one it tries for half a second, and gives up."""
        tables = [Path(name).read_text(encoding="ascii") for name in _TABLES if Path(name).exists()]
        rows = [row.split() for table in tables for row in table.splitlines()[1:]]
        listening = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{self.port:04X}") and row[3] == _LISTENING}
        namespace = Path(f"/proc/{self._running.first_pid}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                is_ours = (process / "ns/pid").readlink() == namespace
                if is_ours and any(str(file.readlink()) in listening for file in (process / "fd").iterdir()):
                    return True
        return False

    def run(self, *arguments: str, timeout_s: float = 60.0, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run the adb client; the result holds its exit code and its output as bytes."""
        return subprocess.run(
            [str(self.adb), *arguments],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **self.environment},
        )

    def devices(self) -> dict[str, str]:
        """What ``adb devices`` shows: state by serial number."""
        rows = self.run("devices").stdout.decode().splitlines()
        return dict(re.split(r"\t+", row, maxsplit=1) for row in rows if "\t" in row)

    def connect(self, address: str) -> None:
        """Make the server know the phone at ``address``; returns when its state is ``device``."""
        deadline = time.monotonic() + _CONNECT_TIMEOUT_S
        seen: Sequence[str] = ()
        while time.monotonic() < deadline:
            # A server that still tries to reach a phone that was away says "already connected" and means "not yet".
            if self.devices().get(address) not in {None, "device"}:
                self.disconnect(address)
            seen = [*seen, self.run("connect", address).stdout.decode().strip()]
            if self.devices().get(address) == "device":
                return
            time.sleep(0.05)
        raise StandinUnavailableError(f"adb does not reach {address}: {seen[-3:]}", next_step="read the phone's log")

    @contextmanager
    def connecting(self, address: str) -> Iterator[None]:
        """Have a client ask for ``address`` meanwhile; it would wait 10 s for a device that does not answer."""
        environment = {**os.environ, **self.environment}
        argv = [str(self.adb), "connect", address]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment) as client:
            try:
                yield
            finally:
                client.kill()

    def disconnect(self, address: str) -> None:
        """Make the server forget ``address``."""
        self.run("disconnect", address)

    def wait_for_state(self, address: str, states: set[str | None], *, timeout_s: float = 20.0) -> str | None:
        """The state of ``address`` as soon as it is one of ``states``; None in the set means: not listed at all.

        Raises:
            TimeoutError: it did not get there in ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            state = self.devices().get(address)
            if state in states:
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"adb shows {address} as {state}, not as one of {states}")
            time.sleep(0.05)

    def _end(self) -> None:
        if self._enclosure is None:
            return
        self._enclosure.close()
        self._enclosure = None
        self._end_foreign_server()

    def _end_foreign_server(self) -> None:
        """While ours is not there: one that a client has started, outside of the enclosure."""
        if self._is_answered():
            self.run("kill-server", timeout_s=20)

    def _is_answered(self) -> bool:
        """Whether anybody listens."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
