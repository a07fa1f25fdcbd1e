"""A service in private namespaces, reachable from this machine's loopback only, on a cable that can be pulled.

The inside half is :mod:`standins.enclosure_init`. Needs Linux with user namespaces: as root, or unprivileged where the
machine allows that; 6.7 or later for arm64 programs, unless ``qemu-aarch64`` is registered on the machine already.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from standins.enclosure_init import Spec
from standins.unavailable import StandinUnavailableError

_TESTS = Path(__file__).resolve().parent.parent
_COMMAND_TIMEOUT_S = 15.0
_SETUP_TIMEOUT_S = 30.0

Step = tuple[str, ...]


def bind(source: Path, target: Path) -> Step:
    """Show ``source`` of the host at ``target``."""
    return ("bind", str(source), str(target))


def read_only(target: Path) -> Step:
    """Make the mount at ``target`` read-only; the mounts below it stay as they are."""
    return ("read-only", str(target))


def tmpfs(
    target: Path, *, mode: int = 0o755, size_bytes: int | None = None, most_files: int | None = None, noexec: bool = False
) -> Step:
    """An empty file system in memory at ``target``; without ``size_bytes`` it may take half of the memory."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes is not None else "")
    options += f",nr_inodes={most_files}" if most_files is not None else ""
    return ("tmpfs", str(target), options, "noexec" if noexec else "exec")


def proc(target: Path) -> Step:
    """The stand-in's own processes at ``target``."""
    return ("proc", str(target))


def dev(target: Path) -> Step:
    """Terminals and the harmless device nodes at ``target``."""
    return ("dev", str(target))


def folder(path: Path, *, mode: int = 0o755, owner: int = 0) -> Step:
    """A folder; ``owner`` is its user and group, and is left alone when the stand-in runs unprivileged."""
    return ("folder", str(path), f"{mode:o}", str(owner))


@dataclass(frozen=True, kw_only=True)
class Service:
    """The program that runs inside, and the port of the inner loopback on which it listens; 0: it listens on none."""

    argv: Sequence[str]
    env: Mapping[str, str]
    port: int
    root: Path = Path("/")
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: Sequence[int] = ()
    start_timeout_s: float = 60.0


@dataclass
class Enclosure:
    """Namespaces that hold one service. ``with`` starts it; leaving ends every process and mount of it.

    ``inside_uid`` is the one user that exists inside when this process is not root. ``emulated`` makes aarch64
    programs run. ``scratch`` is a folder of this machine that lives as long as the enclosure.
    """

    service: Service
    steps: Sequence[Step]
    inside_uid: int = 0
    emulated: bool = False
    private_network: bool = True
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="standin-")))

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _control: socket.socket | None = field(default=None, init=False)
    _port: int = field(default=0, init=False)

    @property
    def port(self) -> int:
        """The port on this machine's 127.0.0.1; the same from start to end, pulled cable or not."""
        return self._port

    @property
    def log(self) -> Path:
        """What the service wrote on stdout and stderr."""
        return self.scratch / "service.log"

    def __enter__(self) -> Self:
        try:
            self._launch()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Start the service again after :meth:`stop`; returns when it listens."""
        self._command("start", timeout_s=self.service.start_timeout_s + _COMMAND_TIMEOUT_S)

    def stop(self) -> None:
        """Kill every process inside at once, as a power cut does; the port refuses connections, files stay."""
        self._command("stop")

    def pull_cable(self, *, after_bytes: int | None = None) -> None:
        """Reset all connections and refuse new ones, now or when ``after_bytes`` more have gone towards the device."""
        if after_bytes is None:
            self._command("pull")
        else:
            self._command("pull-after", str(after_bytes))

    def plug_cable(self) -> None:
        """Accept connections again."""
        self._command("plug")

    def stall(self, *, after_bytes: int | None = None) -> None:
        """Keep connections open and move nothing, as a network does that swallows packets, or a device that hangs.

        Now, or when ``after_bytes`` more have gone towards the device.
        """
        if after_bytes is None:
            self._command("stall")
        else:
            self._command("stall-after", str(after_bytes))

    def flow(self) -> None:
        """End :meth:`stall`."""
        self._command("flow")

    @property
    def first_pid(self) -> int:
        """The number that this machine has for the first process inside."""
        if self._process is None:
            raise RuntimeError("the stand-in is not running")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return int(children.split()[0])

    def seen_from_outside(self, path: Path) -> Path:
        """What is at ``path`` inside, as this machine can read and write it. Links there lead astray: only read their text."""
        return Path(f"/proc/{self.first_pid}/root{path}")

    @property
    def plugged(self) -> bool:
        """Whether the cable is in; tells a test that :meth:`pull_cable` with ``after_bytes`` has struck."""
        return "plugged=1" in self._command("status")

    @property
    def running(self) -> bool:
        """Whether the service's first process is alive."""
        return "running=1" in self._command("status")

    def empty_folders(self, *folders: Path) -> None:
        """Remove everything in folders that exist only inside."""
        self._command("empty", *map(str, folders))

    def close(self) -> None:
        """End everything. Safe to call twice."""
        if self._control is not None:
            self._control.close()  # PID 1 takes this as the order to go, and the kernel takes everything else
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
            self._process = None
        shutil.rmtree(self.scratch, ignore_errors=True)

    # --------------------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self.scratch.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        listener = _bound_to_loopback() if self.service.port else None
        try:
            if listener is not None:
                self._port = int(listener.getsockname()[1])
            spec: Spec = {
                "scratch": str(self.scratch),
                "control_fd": theirs.fileno(),
                "listen_fd": listener.fileno() if listener is not None else -1,
                "private_network": self.private_network,
                "emulator": str(_emulator()) if self.emulated else "",
                "inside_uid": self.inside_uid,
                "steps": [list(step) for step in self.steps],
                "root": str(self.service.root),
                "argv": list(self.service.argv),
                "env": dict(self.service.env),
                "cwd": self.service.cwd,
                "uid": self.service.uid,
                "gid": self.service.gid,
                "groups": list(self.service.groups),
                "service_port": self.service.port,
                "start_timeout_s": self.service.start_timeout_s,
                "log": str(self.log),
            }
            spec_file = self.scratch / "spec.json"
            spec_file.write_text(json.dumps(spec), encoding="utf-8")
            with (self.scratch / "init.log").open("wb") as init_log:
                # Not PDEATHSIG on this process: it would strike when the *thread* that started it ends.
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-s", "-P", "-m", "standins.enclosure_init", str(spec_file)],
                    stdin=subprocess.DEVNULL,
                    stdout=init_log,
                    stderr=init_log,
                    pass_fds=[end.fileno() for end in (theirs, listener) if end is not None],
                    start_new_session=True,
                    cwd="/",
                    env={"PYTHONPATH": str(_TESTS), "PATH": os.environ.get("PATH", os.defpath)},
                )
        finally:
            theirs.close()
            if listener is not None:
                listener.close()
        self._answer("set-up", timeout_s=_SETUP_TIMEOUT_S)

    def _command(self, *words: str, timeout_s: float = _COMMAND_TIMEOUT_S) -> str:
        if self._control is None:
            raise RuntimeError("the stand-in is not running")
        self._control.sendall("\0".join(words).encode())
        return self._answer(words[0], timeout_s=timeout_s)

    def _answer(self, what: str, *, timeout_s: float) -> str:
        if self._control is None:
            raise RuntimeError("the stand-in is not running")
        self._control.settimeout(timeout_s)
        with suppress(ConnectionResetError):
            answer = self._control.recv(65536).decode()
            if answer.startswith("ok"):
                return answer
            if answer:
                raise StandinUnavailableError(
                    f"the stand-in's {what} failed: {answer.removeprefix('error ')}\n{self._logs()}",
                    next_step=(
                        "user namespaces must be allowed here: run as root, or see the sysctls user.max_user_namespaces"
                        " and kernel.apparmor_restrict_unprivileged_userns"
                    ),
                )
        raise StandinUnavailableError(
            f"the stand-in's {what} ended without an answer\n{self._logs()}", next_step="read the log above"
        )

    def _logs(self) -> str:
        parts = []
        for path in (self.scratch / "init.log", self.log):
            with suppress(OSError):
                parts.extend(path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        return "\n".join(parts)


def _bound_to_loopback() -> socket.socket:
    """A socket on a free port that keeps its port when it stops listening.

    The kernel gives back a port that it chose itself as soon as listening ends, and keeps one that was asked for by
    number; hence the second bind, made while the first socket still holds the port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as finder:
        finder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        finder.bind(("127.0.0.1", 0))
        keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(finder.getsockname())
        return keeper


def _emulator() -> Path:
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if found is None:
        raise StandinUnavailableError("qemu-aarch64-static is not installed (package qemu-user-static)")
    return Path(os.path.realpath(found))
