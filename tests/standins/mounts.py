"""The file systems inside an enclosure, laid out one step after the other by its PID 1.

A step is a tuple of words, because it travels as JSON; :mod:`standins.enclosure` has a function for each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from standins.kernel import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    EnclosureError,
    kept_mount_flags,
    mount,
)

DEVICE_NODES = ("null", "zero", "full", "random", "urandom", "tty")


def _bind(source: str, target: str) -> None:
    mount(source, target, "", MS_BIND | MS_REC)


def _read_only(target: str) -> None:
    mount("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept_mount_flags(target))


def _tmpfs(target: str, options: str, noexec: str) -> None:
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | (MS_NOEXEC if noexec == "noexec" else 0), options)


def _proc(target: str) -> None:
    try:
        mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except EnclosureError:  # Some containers hide parts of /proc, and then a fresh one is refused.
        if target != "/proc":
            _bind("/proc", target)


def _dev(target: str) -> None:
    mount("tmpfs", target, "tmpfs", MS_NOSUID, "mode=755")
    folder = Path(target)
    for node in DEVICE_NODES:
        (folder / node).touch()
        mount(f"/dev/{node}", f"{target}/{node}", "", MS_BIND)
    (folder / "pts").mkdir()
    mount("devpts", f"{target}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    (folder / "ptmx").symlink_to("pts/ptmx")
    for name, there in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        (folder / name).symlink_to(f"/proc/self/fd{there}")


def _folder(path: str, mode: str, owner: str) -> None:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, int(owner), int(owner))
    folder.chmod(int(mode, 8))


_STEPS: Mapping[str, Callable[..., None]] = {
    "bind": _bind,
    "dev": _dev,
    "folder": _folder,
    "proc": _proc,
    "read-only": _read_only,
    "tmpfs": _tmpfs,
}


def run_step(step: list[str]) -> None:
    """Do one step. Raises :class:`standins.kernel.EnclosureError` or :class:`OSError`."""
    name, *words = step
    _STEPS[name](*words)
