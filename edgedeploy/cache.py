"""The content-addressed cache on this machine: finished exports by key, what sources depend on, built runners, digests."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.errors import UsageError
from edgedeploy.places import cache_folder

T = TypeVar("T")

_LARGE_BYTES = 1 << 20  # less is hashed as quickly as a record is read
_PIECE_BYTES = 4 << 20  # enough for several threads; a whole file mapped into memory would count as this process's
# A file that changed later than this before it was hashed may change again without its times telling: they have the clock's
# ticks, and of memory-mapped pages only the first change since they were written back, half a minute at most.
_SETTLED_NS = 60 * 10**9


def key_of(*parts: object) -> str:
    """Hex SHA-256 over the JSON of all parts: equal parts, equal key."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def write_whole(file: Path, content: bytes) -> None:
    """Give a file of this machine new content by one rename: whoever reads it finds the old one or the new one.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    new = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        new.write_bytes(content)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


class Cache:
    """Folders under the user's cache folder. An entry appears whole, by a rename, or not at all.

    What writes raises UsageError when the file system refuses; what reads finds nothing then.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_folder()

    @property
    def chunks(self) -> Path:
        """What files that were sent consist of, by their SHA-256."""
        return self.root / "chunks"

    @property
    def runners(self) -> Path:
        """Where runners are built and kept."""
        return self.root / "runners"

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a finished entry."""
        folder = self.root / kind / key
        return folder if folder.is_dir() else None

    def drop(self, folder: Path) -> None:
        """Remove a damaged entry."""
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the cache's own file system, gone afterwards unless :meth:`keep` took it."""
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            self._sweep()
            folder = Path(tempfile.mkdtemp(prefix=f"scratch-{os.getpid()}-", dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, folder: Path, kind: str, key: str) -> Path:
        """Give a scratch folder its final name. When another process was quicker, its entry is taken."""
        target = self.root / kind / key
        with self._writing():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        return target

    def log(self, name: str) -> Path:
        """An empty file for what SDKs print; the one of the last time is replaced."""
        file = self.root / "logs" / f"{name}.txt"
        with self._writing():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"")
        return file

    def read(self, kind: str, key: str, type_: type[T]) -> T | None:
        """A small record, or None when there is none or it is damaged."""
        try:
            return decode((self.root / kind / f"{key}.json").read_bytes(), type_)
        except (OSError, msgspec.DecodeError):
            return None

    def write(self, kind: str, key: str, content: bytes) -> None:
        """Store a small record, replacing it by one rename."""
        file = self.root / kind / f"{key}.json"
        with self._writing():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, content)

    def sha256(self, path: Path) -> str:
        """Digest of a file. A large one is not read again while the file system has it under the same inode, size and times.

        One of the times is that of the last change of any kind (ctime), which no program can set.

        Raises:
            OSError: it cannot be read.
        """
        before = path.stat()
        if before.st_size < _LARGE_BYTES:
            return file_sha256(path)
        key = key_of(str(path), _identity(before))
        known = self.read("digests", key, str)
        if known is not None:
            return known
        settled = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > _SETTLED_NS
        found = self._sha256_of_content(path)
        if settled and _identity(path.stat()) == _identity(before):
            self._remember("digests", key, found)
        return found

    def _sha256_of_content(self, path: Path) -> str:
        """By way of BLAKE3, several times as fast: what was hashed once under any name and at any time is not hashed again."""
        from blake3 import blake3

        content = blake3(max_threads=blake3.AUTO)
        piece = memoryview(bytearray(_PIECE_BYTES))
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(piece):
                content.update(piece[:count])
        key = content.hexdigest()
        known = self.read("contents", key, str)
        if known is None:
            known = file_sha256(path)
            self._remember("contents", key, known)
        return known

    def _remember(self, kind: str, key: str, digest: str) -> None:
        with suppress(UsageError):  # a cache that cannot be written makes it slow, not wrong
            self.write(kind, key, msgspec.json.encode(digest))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(
                "the cache folder cannot be written",
                where=str(self.root),
                seen=error.strerror or str(error),
                next_step="free some space, or set XDG_CACHE_HOME to a folder you may write",
            ) from None

    def _sweep(self) -> None:
        """Remove scratch folders of processes that were killed."""
        for folder in self.root.glob("scratch-*"):
            owner = folder.name.split("-")[1]
            if owner.isdigit() and not _alive(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
