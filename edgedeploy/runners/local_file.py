"""A file of this machine as an entry of a release."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgedeploy.domain.release import FileEntry, LocalFile


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 as lower-case hex; reads all of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def local_file(path: Path, name: str, *, executable: bool = False) -> LocalFile:
    """Describe ``path`` as what is to become ``name`` on a device; reads all of it."""
    entry = FileEntry(path=name, sha256=sha256_of(path), size_bytes=path.stat().st_size, executable=executable)
    return LocalFile(local=str(path.resolve()), entry=entry)
