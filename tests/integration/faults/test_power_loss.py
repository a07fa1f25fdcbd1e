"""Power lost after a push: a real ext4 on a loop device, and what its medium holds at that moment."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.transports.local import LocalConnection

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists() or shutil.which("mkfs.ext4") is None,
    reason="needs root, loop devices and mkfs.ext4",
)
MEDIUM_BYTES = 64 << 20


class Medium:
    """A file system whose medium is a file: what the kernel has not written yet is not in it."""

    def __init__(self, image: Path) -> None:
        self._image = image
        with image.open("wb") as file:
            file.truncate(MEDIUM_BYTES)
        subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=60)

    @contextmanager
    def mounted(self, place: Path) -> Iterator[None]:
        place.mkdir(exist_ok=True)
        mount = ["mount", "-o", "loop", self._image, place]
        done = subprocess.run(mount, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            pytest.skip(f"no loop device can be mounted: {done.stderr.strip()}")
        try:
            yield
        finally:
            subprocess.run(["umount", place], check=True, timeout=60)

    def as_it_is(self) -> bytes:
        """What would be left if the power went now."""
        return self._image.read_bytes()

    def becomes(self, content: bytes) -> None:
        """While it is not mounted."""
        self._image.write_bytes(content)


def local(folder: Path, name: str, content: bytes) -> LocalFile:
    (folder / name).write_bytes(content)
    (entry,) = entries_of(folder / name)
    return LocalFile(local=str(folder / name), entry=FileEntry(path=name, sha256=entry.sha256, size_bytes=entry.size_bytes))


def opened(place: Path) -> Store:
    return Store(LocalConnection("here"), device="here", workdir=str(place / "edgedeploy"), project="demo")


@pytest.mark.parametrize("files", [3, 50])
def test_a_release_that_is_current_is_whole(tmp_path: Path, files: int) -> None:
    sent = [local(tmp_path, f"model {number}", os.urandom(100_000 + number)) for number in range(files)]
    medium, place = Medium(tmp_path / "medium"), tmp_path / "device"
    with medium.mounted(place):
        store = opened(place)
        for file in sent:
            store.receive(file, progress=lambda _count: None)
        store.activate(Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(file.entry for file in sent)))
        save_something_else(place)
        left = medium.as_it_is()
    medium.becomes(left)
    with medium.mounted(place):
        store = opened(place)
        assert store.project.current == 1
        assert store.missing(file.entry for file in sent) == frozenset()
        assert store.damaged(file.entry for file in sent) == frozenset()
        assert store.seen.manifest is not None
        assert store.broken_links(store.seen.manifest) == frozenset()


def save_something_else(place: Path) -> None:
    """As another program does: the file system's journal takes along every name that was given before, and no content."""
    with (place / "log").open("wb") as file:
        file.write(b"of another program")
        os.fsync(file.fileno())
