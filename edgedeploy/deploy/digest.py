"""SHA-256 of files and folders, as devices and runners compute them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgedeploy.domain.release import FileEntry


def file_sha256(path: Path) -> str:
    """Lower-case hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries_of(path: Path) -> tuple[FileEntry, ...]:
    """A file as one entry; a folder as one entry per file below it, sorted. Paths start with ``path``'s own name."""
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return tuple(
        FileEntry(path=file.relative_to(path.parent).as_posix(), sha256=file_sha256(file), size_bytes=file.stat().st_size)
        for file in files
    )


def content_sha256(entries: tuple[FileEntry, ...], entry: str) -> str:
    """Digest of an artifact: the file's own, or for a folder that over its sorted listing (docs/runner-protocol.md)."""
    if len(entries) == 1 and entries[0].path == entry:
        return entries[0].sha256
    listing = sorted((item.path.removeprefix(f"{entry}/"), item.sha256) for item in entries)
    return hashlib.sha256("".join(f"{sha}  {path}\n" for path, sha in listing).encode()).hexdigest()
