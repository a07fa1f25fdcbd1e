"""The content-addressed cache on this machine: finished exports by key, what sources depend on, built runners."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.errors import UsageError
from edgedeploy.places import cache_folder


def key_of(*parts: object) -> str:
    """Hex SHA-256 over the JSON of all parts: equal parts, equal key."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


class Cache:
    """Folders under the user's cache folder. An entry appears whole, by a rename, or not at all."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_folder()

    @property
    def runners(self) -> Path:
        """Where runners are built and kept."""
        return self.root / "runners"

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a finished entry."""
        folder = self.root / kind / key
        return folder if folder.is_dir() else None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the cache's own file system, gone afterwards unless :meth:`keep` took it.

        Raises:
            UsageError: the cache folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=self.root))
        except OSError as error:
            raise UsageError(
                "the cache folder cannot be written",
                where=str(self.root),
                seen=error.strerror or str(error),
                next_step="free some space, or set XDG_CACHE_HOME to a folder you may write",
            ) from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, folder: Path, kind: str, key: str) -> Path:
        """Give a scratch folder its final name. When another process was quicker, its entry is taken."""
        target = self.root / kind / key
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
        return target

    def read(self, kind: str, key: str) -> bytes | None:
        """A small record, or None."""
        file = self.root / kind / f"{key}.json"
        return file.read_bytes() if file.is_file() else None

    def write(self, kind: str, key: str, content: bytes) -> None:
        """Store a small record, replacing it by one rename."""
        file = self.root / kind / f"{key}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
            new.write(content)
        Path(new.name).replace(file)
