"""The shells and tools of devices, on this machine: what a script is given as its only PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from standins.unavailable import StandinUnavailableError

KINDS = ("gnu", "busybox", "toybox", "mac")

# What is the same everywhere, as far as our scripts go.
_PLAIN = [
    "cat",
    "chmod",
    "cut",
    "date",
    "env",
    "find",
    "grep",
    "gzip",
    "head",
    "ln",
    "mkdir",
    "mkfifo",
    "printf",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "sleep",
    "sort",
    "sync",
    "tail",
    "tar",
    "tr",
    "true",
]
_GNU = (*_PLAIN, "dd", "df", "ls", "mv", "sha256sum", "uname")
# Debian leaves these out of toybox, and its sh; Android's shell is mksh.
_TOYBOX_LACKS = ("dd", "gzip", "tr")
_MAC = Path(__file__).parent / "mac"


def make_userland(kind: str, folder: Path) -> Path:
    """Fill a folder with the programs of one of :data:`KINDS`, and return it."""
    folder.mkdir()
    if kind == "gnu":
        _link(folder, "dash", "sh")
        _links(folder, _GNU)
    elif kind == "busybox":
        busybox = _needed("busybox")
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, timeout=20, check=True).stdout.split():
            (folder / applet).symlink_to(busybox)
    elif kind == "toybox":
        toybox = _needed("toybox")
        _link(folder, "mksh", "sh")
        for applet in subprocess.run([toybox], capture_output=True, text=True, timeout=20, check=True).stdout.split():
            (folder / applet).symlink_to(toybox)
        _links(folder, _TOYBOX_LACKS)
    else:
        _link(folder, "bash", "sh")  # as sh, it is in POSIX mode; a Mac's is version 3.2
        _links(folder, (*_PLAIN, "shasum"))
        for tool in _MAC.iterdir():
            if tool.suffix != ".md":
                (folder / tool.name).symlink_to(tool)
    return folder


def _links(folder: Path, names: tuple[str, ...] | list[str]) -> None:
    for name in names:
        _link(folder, name, name)


def _link(folder: Path, program: str, name: str) -> None:
    (folder / name).symlink_to(_needed(program))


def _needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise StandinUnavailableError(f"{program} is not installed")
    return found
