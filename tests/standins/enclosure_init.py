"""The inside half of :mod:`standins.enclosure`: one program, standard library only, started as its own process.

It enters private user, mount, pid and (when asked) network namespaces, lays out mounts, starts the service and relays
connections from the host's loopback to it. The listening socket was made on the host and inherited: a socket stays in
the network namespace that it was made in, so this one process has an end on both sides, and the service itself can be
reached in no other way.

Nothing outlives the test: this process is PID 1 of the pid namespace, and ends when the control socket closes, which
the kernel does when the test's process is gone for whatever reason. With PID 1 go all processes, mounts and networks.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import NoReturn, TypedDict

# Constants of <sched.h>, <sys/mount.h>, <sys/prctl.h>, <linux/sockios.h>, <net/if.h>.
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x0002_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 21
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

BINFMT = "/proc/sys/fs/binfmt_misc"
# An ELF header of a 64-bit little-endian aarch64 program or shared object: EI_CLASS 2, EI_DATA 1, e_type 2 or 3, e_machine 183.
AARCH64_MAGIC = b"\x7fELF\x02\x01\x01" + b"\x00" * 9 + b"\x02\x00\xb7\x00"
AARCH64_MASK = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"

RELAY_BUFFER_BYTES = 1 << 20
DEVICE_NODES = ("null", "zero", "full", "random", "urandom", "tty")


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


class EnclosureError(Exception):
    """A step failed; the text goes back to the test."""


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise EnclosureError(f"{what}: {os.strerror(number)} [{errno.errorcode.get(number, number)}]")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()),
        f"mount {kind or 'bind'} {source} on {target}",
    )


def _kept_flags(target: str) -> int:
    """The mount flags that a remount inside a user namespace must repeat because the kernel has locked them."""
    seen = os.statvfs(target).f_flag
    pairs = (
        (2, MS_NOSUID),
        (4, MS_NODEV),
        (8, MS_NOEXEC),
        (1024, MS_NOATIME),
        (2048, MS_NODIRATIME),
        (4096, MS_RELATIME),
    )
    return sum(mount_flag for vfs_flag, mount_flag in pairs if seen & vfs_flag)


def _identity_map(path: str, inside_id: int, outside_id: int) -> str:
    """A user or group map: everything that exists out here as itself for root, else one id."""
    if os.geteuid() != 0:
        return f"{inside_id} {outside_id} 1\n"
    with open(path, encoding="ascii") as handle:
        rows = [line.split() for line in handle]
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in rows)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as handle:
        handle.write(text)


def _enter_namespaces(spec: Spec) -> None:
    """Move this process into new namespaces; its next child becomes PID 1 of a new pid namespace."""
    uid_map = _identity_map("/proc/self/uid_map", spec["inside_uid"], os.geteuid())
    gid_map = _identity_map("/proc/self/gid_map", spec["inside_uid"], os.getegid())
    privileged = os.geteuid() == 0
    me = os.getpid()
    entered_read, entered_write = os.pipe()
    mapper = os.fork()
    if mapper == 0:  # A map of many ids can only be written from the parent namespace, so a child stays there for it.
        status = 1
        try:
            os.close(entered_write)
            if os.read(entered_read, 1):
                if not privileged:
                    _write(f"/proc/{me}/setgroups", "deny")
                _write(f"/proc/{me}/uid_map", uid_map)
                _write(f"/proc/{me}/gid_map", gid_map)
                status = 0
        finally:
            os._exit(status)
    os.close(entered_read)
    flags = CLONE_NEWUSER | CLONE_NEWNS | (CLONE_NEWNET if spec["private_network"] else 0)
    try:
        _check(_libc.unshare(flags), "unshare of user and mount namespaces")
        os.write(entered_write, b"x")
    finally:
        os.close(entered_write)
        mapped = os.waitpid(mapper, 0)[1]
    if mapped != 0:
        raise EnclosureError("the user namespace's id maps were refused")
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    if spec["private_network"]:
        _loopback_up()
    if spec["emulator"]:
        _register_emulator(spec["emulator"])
    _check(_libc.unshare(CLONE_NEWPID), "unshare of the pid namespace")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        name = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(handle, SIOCGIFFLAGS, name))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _register_emulator(emulator: str) -> None:
    """Have the kernel start aarch64 programs through ``emulator``, in this user namespace only (Linux 6.7 or later)."""
    try:
        _mount("binfmt_misc", BINFMT, "binfmt_misc", 0)
    except EnclosureError:
        if _host_runs_aarch64():
            return
        raise
    # F opens the emulator now, so that it works in roots that do not have it; P keeps argv[0] as it was.
    rule = b":standin-aarch64:M::" + _escaped(AARCH64_MAGIC) + b":" + _escaped(AARCH64_MASK)
    with open(f"{BINFMT}/register", "wb", buffering=0) as handle:
        handle.write(rule + b":" + emulator.encode() + b":FP")


def _escaped(raw: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in raw)


def _host_runs_aarch64() -> bool:
    try:
        with open(f"{BINFMT}/qemu-aarch64", encoding="ascii") as handle:
            rule = handle.read()
    except OSError:
        return False
    flags = next((line.split(":", 1)[1] for line in rule.splitlines() if line.startswith("flags:")), "")
    return rule.startswith("enabled") and "F" in flags


def _make_folder(path: str, mode: str, uid: str, gid: str) -> None:
    os.makedirs(path, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, int(uid), int(gid))
    os.chmod(path, int(mode, 8))


def _lay_out_dev(target: str) -> None:
    _mount("tmpfs", target, "tmpfs", MS_NOSUID, "mode=755")
    for node in DEVICE_NODES:
        with open(f"{target}/{node}", "wb"):
            pass
        _mount(f"/dev/{node}", f"{target}/{node}", "", MS_BIND)
    os.mkdir(f"{target}/pts")
    _mount("devpts", f"{target}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", f"{target}/ptmx")
    for name, there in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{there}", f"{target}/{name}")


def _run_step(step: list[str]) -> None:
    match step:
        case ["bind", source, target]:
            _mount(source, target, "", MS_BIND | MS_REC)
        case ["read-only", target]:
            _mount("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | _kept_flags(target))
        case ["tmpfs", target, options, noexec]:
            _mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | (MS_NOEXEC if noexec == "noexec" else 0), options)
        case ["proc", target]:
            try:
                _mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
            except EnclosureError:  # Some containers hide parts of /proc, and then a fresh one is refused.
                if target != "/proc":
                    _mount("/proc", target, "", MS_BIND | MS_REC)
        case ["dev", target]:
            _lay_out_dev(target)
        case ["folder", path, mode, uid, gid]:
            _make_folder(path, mode, uid, gid)
        case ["copy", source, path, mode, uid, gid]:
            shutil.copyfile(source, path)
            os.chmod(path, int(mode, 8))
            if os.geteuid() == 0:
                os.chown(path, int(uid), int(gid))
        case _:
            raise EnclosureError(f"unknown step {step}")


@dataclass(eq=False)
class Flow:
    """Bytes going one way: read from ``source``, written to ``sink``."""

    source: socket.socket
    sink: socket.socket
    counted: bool
    buffer: bytearray = field(default_factory=lambda: bytearray(RELAY_BUFFER_BYTES))
    start: int = 0
    end: int = 0
    ended: bool = False


@dataclass(eq=False)
class Link:
    """One connection of the host, joined to one of the service."""

    outer: socket.socket
    inner: socket.socket
    forth: Flow
    back: Flow


class Init:
    """PID 1: the service's parent, the relay, and the hand on the cable."""

    def __init__(self, spec: Spec, log_fd: int) -> None:
        self.spec = spec
        self.control = socket.socket(fileno=spec["control_fd"])
        self.listener = socket.socket(fileno=spec["listen_fd"]) if spec["listen_fd"] >= 0 else None
        self.selector = selectors.DefaultSelector()
        self.links: set[Link] = set()
        self.service_pid = 0
        self.plugged = True
        self.stalled = False
        self.bytes_until_cut = -1
        self.log_fd = log_fd
        for inherited in (self.control, self.listener):
            if inherited is not None:
                inherited.set_inheritable(False)
        self._child_read, child_write = socket.socketpair()
        child_write.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(child_write.fileno(), warn_on_full_buffer=False)
        self._child_write = child_write

    def serve(self) -> NoReturn:
        """Lay out the mounts, then obey commands until the control socket closes."""
        try:
            for step in self.spec["steps"]:
                _run_step(step)
        except (EnclosureError, OSError) as failure:
            self._reply(f"error {failure}")
            os._exit(1)
        self.selector.register(self.control, selectors.EVENT_READ)
        self.selector.register(self._child_read, selectors.EVENT_READ)
        self._reply("ok")
        while True:
            for key, events in self.selector.select():
                if key.fileobj is self.control:
                    self._obey(self.control.recv(4096))
                elif key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is self._child_read:
                    self._child_read.recv(4096)
                    self._reap()
                else:
                    self._relay(key.data, key.fileobj, events)

    # --- commands -------------------------------------------------------------------------------------------------

    def _reply(self, text: str) -> None:
        self.control.sendall(text.encode())

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
                self._plug()
            case ["stop"]:
                self._pull()
                self._stop_service()
            case ["pull"]:
                self._pull()
            case ["pull-after", count]:
                self.bytes_until_cut = int(count)
            case ["plug"]:
                self._plug()
            case ["stall"]:
                self._set_stalled(stalled=True)
            case ["flow"]:
                self._set_stalled(stalled=False)
            case ["empty", *folders]:
                for folder in folders:
                    _empty(folder)
            case ["status"]:
                return f"ok plugged={int(self.plugged)} running={int(self.service_pid != 0)}"
            case _:
                raise EnclosureError(f"unknown command {words}")
        return "ok"

    # --- the service ----------------------------------------------------------------------------------------------

    def _start_service(self) -> None:
        if self.service_pid:
            raise EnclosureError("the service is running already")
        pid = os.fork()
        if pid == 0:
            self._become_service()
        self.service_pid = pid
        if not self.spec["service_port"]:
            return
        deadline = time.monotonic() + self.spec["start_timeout_s"]
        while not self._service_answers():
            self._reap()
            if not self.service_pid:
                raise EnclosureError("the service ended at once; see its log")
            if time.monotonic() > deadline:
                raise EnclosureError(f"the service did not listen within {self.spec['start_timeout_s']:g} s")
            time.sleep(0.01)

    def _service_answers(self) -> bool:
        # Read from the kernel's table: a probing connection would be a first, strange client in the service's log.
        wanted = f":{self.spec['service_port']:04X}"
        for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
            try:
                with open(table, encoding="ascii") as handle:
                    rows = [line.split() for line in handle]
            except OSError:
                continue
            if any(row[1].endswith(wanted) and row[3] == "0A" for row in rows[1:]):
                return True
        return False

    def _become_service(self) -> NoReturn:
        spec = self.spec
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(ignored_by_python, signal.SIG_DFL)
            os.setsid()
            nothing = os.open("/dev/null", os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(self.log_fd, 1)
            os.dup2(self.log_fd, 2)
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
        try:
            os.kill(-1, signal.SIGKILL)  # from PID 1: every process of this pid namespace but itself
        except ProcessLookupError:
            pass
        deadline = time.monotonic() + 10
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
                self.service_pid = 0
                return False
            if pid == 0:
                return True
            if pid == self.service_pid:
                self.service_pid = 0

    # --- the cable ------------------------------------------------------------------------------------------------

    def _plug(self) -> None:
        if self.listener is None:
            return
        self.plugged = True
        self.bytes_until_cut = -1
        self.listener.setblocking(False)
        self.listener.listen(64)
        self._set_stalled(stalled=False)

    def _pull(self) -> None:
        """Reset all connections and refuse new ones; the port stays ours."""
        if self.listener is None:
            return
        self.plugged = False
        self.bytes_until_cut = -1
        self._watch(self.listener, 0, None)
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # a socket that listened goes back to being only bound
        except OSError as failure:
            if failure.errno != errno.ENOTCONN:
                raise
        for link in list(self.links):
            self._close(link, reset=True)

    def _set_stalled(self, *, stalled: bool) -> None:
        self.stalled = stalled
        if self.listener is not None:
            self._watch(self.listener, selectors.EVENT_READ if self.plugged and not stalled else 0, None)
        for link in self.links:
            self._watch_link(link)

    def _accept(self) -> None:
        if self.listener is None:
            return
        try:
            outer, _ = self.listener.accept()
        except OSError:
            return
        inner = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            inner.connect(("127.0.0.1", self.spec["service_port"]))
        except OSError:
            inner.close()
            _reset(outer)
            return
        for end in (outer, inner):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(
            outer=outer,
            inner=inner,
            forth=Flow(source=outer, sink=inner, counted=True),
            back=Flow(source=inner, sink=outer, counted=False),
        )
        self.links.add(link)
        self._watch_link(link)

    def _relay(self, link: Link, ready: object, events: int) -> None:
        if link not in self.links:
            return
        try:
            for flow in (link.forth, link.back):
                if flow.sink is ready and events & selectors.EVENT_WRITE:
                    self._send(flow)
                if flow.source is ready and events & selectors.EVENT_READ:
                    self._receive(flow)
        except OSError:
            self._close(link, reset=True)
            return
        if self.bytes_until_cut == 0:
            self._pull()
        elif link.forth.ended and link.back.ended and not _pending(link.forth) and not _pending(link.back):
            self._close(link, reset=False)
        else:
            self._watch_link(link)

    def _receive(self, flow: Flow) -> None:
        if flow.ended or flow.end > flow.start:
            return
        limit = RELAY_BUFFER_BYTES
        if flow.counted and self.bytes_until_cut > 0:
            limit = min(limit, self.bytes_until_cut)
        try:
            count = flow.source.recv_into(flow.buffer, limit)
        except BlockingIOError:
            return
        flow.start, flow.end = 0, count
        if count == 0:
            flow.ended = True
            flow.sink.shutdown(socket.SHUT_WR)
            return
        if flow.counted and self.bytes_until_cut > 0:
            self.bytes_until_cut -= count
        self._send(flow)

    def _send(self, flow: Flow) -> None:
        with memoryview(flow.buffer) as view:
            while flow.start < flow.end:
                try:
                    flow.start += flow.sink.send(view[flow.start : flow.end])
                except BlockingIOError:
                    return

    def _watch_link(self, link: Link) -> None:
        for end, outgoing, incoming in ((link.outer, link.forth, link.back), (link.inner, link.back, link.forth)):
            events = 0
            if not self.stalled:
                if not outgoing.ended and not _pending(outgoing):
                    events |= selectors.EVENT_READ
                if _pending(incoming):
                    events |= selectors.EVENT_WRITE
            self._watch(end, events, link)

    def _watch(self, end: socket.socket, events: int, link: Link | None) -> None:
        known = self.selector.get_map().get(end)
        if known is None and events:
            self.selector.register(end, events, link)
        elif known is not None and not events:
            self.selector.unregister(end)
        elif known is not None and known.events != events:
            self.selector.modify(end, events, link)

    def _close(self, link: Link, *, reset: bool) -> None:
        self.links.discard(link)
        for end in (link.outer, link.inner):
            self._watch(end, 0, None)
            if reset:
                _reset(end)
            else:
                end.close()


def _pending(flow: Flow) -> bool:
    return flow.start < flow.end


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def _empty(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def main() -> int:
    """Read the spec named by the first argument, run PID 1, and tidy up when it has ended."""
    with open(sys.argv[1], encoding="utf-8") as handle:
        spec: Spec = json.load(handle)
    # Opened out here: inside, a mount may hide its folder, and an open file would keep a mount from becoming read-only.
    log_fd = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        _enter_namespaces(spec)
        first = os.fork()
    except (EnclosureError, OSError) as failure:
        socket.socket(fileno=spec["control_fd"]).sendall(f"error {failure}".encode())
        return 1
    if first == 0:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            Init(spec, log_fd).serve()
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    os.close(spec["control_fd"])
    if spec["listen_fd"] >= 0:
        os.close(spec["listen_fd"])
    os.waitpid(first, 0)
    shutil.rmtree(spec["scratch"], ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
