"""The inside half of :mod:`standins.enclosure`: a process of its own, standard library only.

It enters private user, mount, pid and (when asked) network namespaces, lays out mounts, starts the service and relays
connections from the host's loopback to it. The listening socket was made on the host and inherited: a socket stays in
the network namespace that it was made in, so this one process has an end on both sides, and the service itself can be
reached in no other way.

Nothing outlives the test: this process is PID 1 of the pid namespace, and ends when the control socket closes, which
the kernel does when the test's process is gone for whatever reason. With PID 1 go all processes, mounts and networks.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypedDict

from standins.cable import Cable
from standins.kernel import EnclosureError, die_with_parent, enter_namespaces
from standins.mounts import run_step

_STOP_TIMEOUT_S = 10.0
_LISTENING = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it


class Spec(TypedDict):
    """What is to be started, as JSON from the outside half. Times in seconds."""

    scratch: str
    control_fd: int
    listen_fd: int
    private_network: bool
    emulator: str
    inside_uid: int
    steps: list[list[str]]
    root: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    service_port: int
    start_timeout_s: float
    log: str


class Init:
    """PID 1: the service's parent and the hand on the cable."""

    def __init__(self, spec: Spec, *, control: socket.socket, listener: socket.socket | None, log_fd: int) -> None:
        self._spec = spec
        self._control = control
        self._log_fd = log_fd
        self._selector = selectors.DefaultSelector()
        self._cable = Cable(self._selector, listener, spec["service_port"]) if listener is not None else None
        self._service_pid = 0
        self._child_ended, child_write = socket.socketpair()
        child_write.setblocking(False)
        self._child_write = child_write  # kept, because the signal module holds only its number
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(child_write.fileno(), warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        """Lay out the mounts, then obey commands until the control socket closes."""
        try:
            for step in self._spec["steps"]:
                run_step(step)
        except (EnclosureError, OSError) as failure:
            self._reply(f"error {failure}")
            os._exit(1)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._child_ended, selectors.EVENT_READ)
        self._reply("ok")
        while True:
            for key, events in self._selector.select():
                if key.fileobj is self._control:
                    self._obey(self._control.recv(4096))
                elif key.fileobj is self._child_ended:
                    self._child_ended.recv(4096)
                    self._reap()
                elif self._cable is not None:
                    self._cable.handle(key, events)

    # --- commands -------------------------------------------------------------------------------------------------

    def _reply(self, text: str) -> None:
        self._control.sendall(text.encode())

    def _obey(self, message: bytes) -> None:
        if not message:
            os._exit(0)
        words = message.decode().split("\0")
        try:
            self._reply(self._command(words))
        except (EnclosureError, OSError) as failure:
            self._reply(f"error {failure}")

    def _command(self, words: list[str]) -> str:
        match words:
            case ["start"]:
                self._start_service()
                if self._cable is not None:
                    self._cable.plug()
            case ["stop"]:
                if self._cable is not None:
                    self._cable.pull()
                self._stop_service()
            case ["empty", *folders]:
                for folder in folders:
                    _empty(Path(folder))
            case ["status"]:
                plugged = self._cable is not None and self._cable.plugged
                return f"ok plugged={int(plugged)} running={int(self._service_pid != 0)}"
            case _:
                self._command_cable(words)
        return "ok"

    def _command_cable(self, words: list[str]) -> None:
        if self._cable is None:
            raise EnclosureError("this service has no port, and so no cable")
        match words:
            case ["pull"]:
                self._cable.pull()
            case ["pull-after", count_bytes]:
                self._cable.pull_after(int(count_bytes))
            case ["plug"]:
                self._cable.plug()
            case ["stall"]:
                self._cable.set_stalled(stalled=True)
            case ["stall-after", count_bytes]:
                self._cable.stall_after(int(count_bytes))
            case ["flow"]:
                self._cable.set_stalled(stalled=False)
            case _:
                raise EnclosureError(f"unknown command {words}")

    # --- the service ----------------------------------------------------------------------------------------------

    def _start_service(self) -> None:
        if self._service_pid:
            raise EnclosureError("the service is running already")
        pid = os.fork()
        if pid == 0:
            self._become_service()
        self._service_pid = pid
        if not self._spec["service_port"]:
            return
        deadline = time.monotonic() + self._spec["start_timeout_s"]
        while not self._service_answers():
            self._reap()
            if not self._service_pid:
                raise EnclosureError("the service ended at once; see its log")
            if time.monotonic() > deadline:
                raise EnclosureError(f"the service did not listen within {self._spec['start_timeout_s']:g} s")
            time.sleep(0.01)

    def _service_answers(self) -> bool:
        # Read from the kernel's table: a probing connection would be a first, strange client in the service's log.
        wanted = f":{self._spec['service_port']:04X}"
        for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
            with suppress(OSError):
                rows = [line.split() for line in Path(table).read_text(encoding="ascii").splitlines()[1:]]
                if any(row[1].endswith(wanted) and row[3] == _LISTENING for row in rows):
                    return True
        return False

    def _become_service(self) -> NoReturn:
        spec = self._spec
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(ignored_by_python, signal.SIG_DFL)
            os.setsid()
            nothing = os.open("/dev/null", os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(self._log_fd, 1)
            os.dup2(self._log_fd, 2)
            if spec["root"] != "/":
                os.chroot(spec["root"])
            os.chdir(spec["cwd"])
            os.umask(0o022)
            if os.geteuid() == 0:
                os.setgroups(spec["groups"])
                os.setgid(spec["gid"])
                os.setuid(spec["uid"])
            os.execve(spec["argv"][0], spec["argv"], spec["env"])
        except OSError as failure:
            os.write(2, f"{spec['argv'][0]}: {failure}\n".encode())
        os._exit(127)

    def _stop_service(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # from PID 1: every process of this pid namespace but itself
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self._reap():
            if time.monotonic() > deadline:
                raise EnclosureError("processes of the stand-in do not die")
            time.sleep(0.005)

    def _reap(self) -> bool:
        """Collect the dead; True while there are living children."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._service_pid = 0
                return False
            if pid == 0:
                return True
            if pid == self._service_pid:
                self._service_pid = 0


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _inherited(descriptor: int) -> socket.socket:
    """The socket behind ``descriptor``, from here on closed in every program that is started."""
    handle = socket.socket(fileno=descriptor)
    handle.set_inheritable(False)
    return handle


def main() -> None:
    """Read the spec named by the first argument, run PID 1, and tidy up when it has ended."""
    spec: Spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    control = _inherited(spec["control_fd"])
    listener = _inherited(spec["listen_fd"]) if spec["listen_fd"] >= 0 else None
    # Opened out here: inside, a mount may hide its folder, and an open file would keep a mount from becoming read-only.
    log_fd = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        enter_namespaces(inside_uid=spec["inside_uid"], private_network=spec["private_network"], emulator=spec["emulator"])
        first_pid = os.fork()
    except (EnclosureError, OSError) as failure:
        control.sendall(f"error {failure}".encode())
        sys.exit(1)
    if first_pid == 0:
        die_with_parent()
        Init(spec, control=control, listener=listener, log_fd=log_fd).serve()
    control.close()
    if listener is not None:
        listener.close()
    os.waitpid(first_pid, 0)
    shutil.rmtree(spec["scratch"], ignore_errors=True)


if __name__ == "__main__":
    main()
