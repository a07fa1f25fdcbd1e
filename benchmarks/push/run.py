"""What does it cost to get a file onto a device: unchanged, new, changed, on many devices, over a slow link, in memory?

Whole commands, or a warm process where another program's start would be compared with Python's; on stand-ins with a real adbd
and a real sshd, against the programs that everybody has, in turn. ``python benchmarks/push/run.py 500`` takes a large file of
500 MB instead of 2000, ``--rounds 5`` more samples, ``--only link`` one part and records nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paths  # noqa: F401 - first: makes the others importable
from behind_link import over_slow_link
from bundles import MB, artifact_of, bundle_of, random_file
from changes import Versions, changes
from commands import helper
from first_push import first_push
from fleet import fleet
from memory import memory, versions
from record import record
from rigs import on_loopback
from rollback import rollback
from series import Found
from slow_link import possible
from unchanged import unchanged

from edgedeploy.host import available_memory_bytes

_LARGE_MB, _SMALL_MB, _FLEET_MB, _LINK_MB = 2000, 64, 40, 14
_PIECES_IN_MEMORY, _PIECES_ON_DISK = 5, 6
_LEAST_ROUNDS = 3


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size_mb", nargs="?", type=int, default=_LARGE_MB, help="of the large file")
    parser.add_argument("--rounds", type=int, default=_LEAST_ROUNDS)
    parser.add_argument("--only", choices=("loopback", "changes", "memory", "fleet", "link"))
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # cleans up, as Ctrl-C does
    found = Found()
    with _own_folders() as work:
        size_mb = _with_room(chosen.size_mb, work)
        parts: dict[str, Callable[[Path], Found]] = {
            "loopback": lambda folder: _loopback(folder, size_mb, chosen.rounds),
            "changes": lambda folder: _changes(folder, size_mb, chosen.rounds),
            "memory": lambda folder: _memory(folder, size_mb, chosen.rounds),
            "fleet": lambda folder: fleet(_bundle(folder, _FLEET_MB), chosen.rounds),
            "link": lambda folder: over_slow_link(folder, _LINK_MB * MB, _LINK_MB * MB // 50, chosen.rounds),
        }
        if reason := possible():
            print(f"without the slow link: {reason}")
            found.words.append(f"no slow link, since {reason}")
            del parts["link"]
        for name, part in parts.items():
            if chosen.only in {None, name}:
                print(f"== {name}", flush=True)
                folder = work / name
                folder.mkdir()
                found.add(part(folder))
                shutil.rmtree(folder)
    if chosen.only:
        print("\n".join([*found.words, *(f"{name}: {value:.3f}" for name, value in found.figures.items())]))
        return
    record(
        "push",
        question=f"pushes to stand-in devices, a file of {size_mb} MB unless said: against `adb`, `scp`, `sftp`, `rsync`",
        answer="; ".join(found.words) + f" (medians of {chosen.rounds})",
        figures={"large file, MB": size_mb, **found.figures},
        samples=found.samples,
        distributions=["paramiko", "blake3", "edgedeploy"],
    )


def _loopback(folder: Path, size_mb: int, rounds: int) -> Found:
    bundle = _bundle(folder, size_mb)
    with on_loopback() as rigs:
        found = unchanged(rigs, bundle, rounds)
        found.add(first_push(rigs, artifact_of(bundle), helper(), rounds, where="on loopback"))
    return found


def _changes(folder: Path, size_mb: int, rounds: int) -> Found:
    size_bytes = size_mb * MB // 2
    with on_loopback() as rigs:
        return changes(rigs, Versions(folder, size_bytes, size_bytes // 50), rounds, where="on loopback")


def _memory(folder: Path, size_mb: int, rounds: int) -> Found:
    by_size = {}
    for mb in (_SMALL_MB, size_mb):
        (folder / str(mb)).mkdir()
        by_size[f"{mb} MB"] = versions(folder / str(mb), mb * MB)
    with on_loopback() as rigs:
        found = memory(rigs, by_size)
        found.add(rollback(rigs, by_size[f"{_SMALL_MB} MB"], 2 * rounds))
    return found


def _bundle(folder: Path, size_mb: int) -> Path:
    bundle_of(random_file(folder / "file", size_mb * MB), folder / "bundle")
    return folder / "bundle"


@contextmanager
def _own_folders() -> Iterator[Path]:
    """A home, a cache and a state of our own for everything that is started."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="bench-push-") as folder:
        os.environ |= {
            "HOME": folder,
            "XDG_CACHE_HOME": f"{folder}/cache",
            "XDG_CONFIG_HOME": f"{folder}/config",
            "XDG_STATE_HOME": f"{folder}/state",
        }
        try:
            yield Path(folder)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _with_room(size_mb: int, folder: Path) -> int:
    """A size that memory, where the stand-ins keep their files, and the disk have room for several times."""
    room = {"on the disk": shutil.disk_usage(folder).free // _PIECES_ON_DISK}
    memory_bytes = available_memory_bytes()
    if memory_bytes is not None:
        room["in memory"] = memory_bytes // _PIECES_IN_MEMORY
    where = min(room, key=lambda name: room[name])
    fitting_mb = room[where] // MB
    if fitting_mb < size_mb:
        print(f"the large file has {fitting_mb} MB instead of {size_mb}: there is no more room {where}", flush=True)
    return min(size_mb, fitting_mb)


if __name__ == "__main__":
    main()
