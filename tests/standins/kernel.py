"""What the inside half of an enclosure asks of the Linux kernel: namespaces, mounts, a loopback, an emulator."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
from pathlib import Path

# Constants of <sched.h>, <sys/mount.h>, <sys/prctl.h>, <linux/sockios.h>, <net/if.h>.
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x0002_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 21
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# An ELF header of a 64-bit little-endian aarch64 program or shared object: EI_CLASS 2, EI_DATA 1, e_type 2 or 3, e_machine 183.
AARCH64_MAGIC = b"\x7fELF\x02\x01\x01" + b"\x00" * 9 + b"\x02\x00\xb7\x00"
AARCH64_MASK = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"


class EnclosureError(Exception):
    """A step failed; the text goes back to the test."""


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise EnclosureError(f"{what}: {os.strerror(number)} [{errno.errorcode.get(number, number)}]")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2); an empty ``kind`` is for binds and remounts."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()),
        f"mount {kind or 'bind'} {source} on {target}",
    )


def kept_mount_flags(target: str) -> int:
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


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter_namespaces(*, inside_uid: int, private_network: bool, emulator: str) -> None:
    """Move this process into new namespaces; its next child becomes PID 1 of a new pid namespace.

    Args:
        inside_uid: the one user that exists inside when this process is not root.
        private_network: with a network that holds a loopback and nothing else.
        emulator: the program that runs aarch64 programs; empty: they do not run.
    """
    privileged = os.geteuid() == 0
    if emulator and not privileged:
        # Only a namespace's user 0 may register an emulator, and what runs inside shall not be user 0: hence two
        # namespaces, one in the other. The inner one inherits the registration.
        _enter_user_namespace(CLONE_NEWNS, uid_map=f"0 {os.geteuid()} 1", gid_map=f"0 {os.getegid()} 1", one_user=True)
        _register_emulator(emulator)
    _enter_user_namespace(
        CLONE_NEWNS | (CLONE_NEWNET if private_network else 0),
        uid_map=_every_id(Path("/proc/self/uid_map")) if privileged else f"{inside_uid} {os.geteuid()} 1",
        gid_map=_every_id(Path("/proc/self/gid_map")) if privileged else f"{inside_uid} {os.getegid()} 1",
        one_user=not privileged,
    )
    if private_network:
        _loopback_up()
    if emulator and privileged:
        _register_emulator(emulator)
    _check(_libc.unshare(CLONE_NEWPID), "unshare of the pid namespace")


def _every_id(path: Path) -> str:
    """A user or group map in which everything that exists out here is itself."""
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    return "".join(f"{inside} {inside} {count}\n" for inside, _, count in rows)


def _enter_user_namespace(flags: int, *, uid_map: str, gid_map: str, one_user: bool) -> None:
    entered_read, entered_write = os.pipe()
    mapper = _fork_mapper(entered_read, entered_write, uid_map=uid_map, gid_map=gid_map, one_user=one_user)
    os.close(entered_read)
    try:
        _check(_libc.unshare(CLONE_NEWUSER | flags), "unshare of user and mount namespaces")
        os.write(entered_write, b"x")
    finally:
        os.close(entered_write)
        mapped = os.waitpid(mapper, 0)[1]
    if mapped != 0:
        raise EnclosureError("the user namespace's id maps were refused")
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def _fork_mapper(entered_read: int, entered_write: int, *, uid_map: str, gid_map: str, one_user: bool) -> int:
    """Start a child that stays in the parent namespace, from which alone a map of many ids can be written."""
    target = Path(f"/proc/{os.getpid()}")
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.close(entered_write)
        if os.read(entered_read, 1):
            if one_user:  # the kernel's condition for a group map written without privileges
                (target / "setgroups").write_text("deny", encoding="ascii")
            (target / "uid_map").write_text(uid_map, encoding="ascii")
            (target / "gid_map").write_text(gid_map, encoding="ascii")
            status = 0
    finally:
        os._exit(status)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        name = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(handle, SIOCGIFFLAGS, name))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def _register_emulator(emulator: str) -> None:
    """Have the kernel start aarch64 programs through ``emulator``, in this user namespace only (Linux 6.7 or later)."""
    try:
        mount("binfmt_misc", str(BINFMT), "binfmt_misc", 0)
    except EnclosureError:
        if _host_runs_aarch64():
            return
        raise
    # F opens the emulator now, so that it works in roots that do not have it; P keeps argv[0] as it was.
    rule = b":standin-aarch64:M::" + _escaped(AARCH64_MAGIC) + b":" + _escaped(AARCH64_MASK)
    with (BINFMT / "register").open("wb", buffering=0) as handle:
        handle.write(rule + b":" + emulator.encode() + b":FP")


def _escaped(raw: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in raw)


def _host_runs_aarch64() -> bool:
    try:
        rule = (BINFMT / "qemu-aarch64").read_text(encoding="ascii")
    except OSError:
        return False
    flags = next((line.split(":", 1)[1] for line in rule.splitlines() if line.startswith("flags:")), "")
    return rule.startswith("enabled") and "F" in flags
