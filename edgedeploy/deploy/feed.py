"""A file of this machine as what a command on a device reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedeploy.errors import UsageError


class FileFeed:
    """An open file from an offset on. Whoever reads its descriptor moves it, which is how its progress is known."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._offset = offset

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._descriptor

    def taken_bytes(self) -> int:
        """How many bytes have been read from the offset on."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR) - self._offset


@contextmanager
def file_feed(path: Path, *, offset: int = 0) -> Iterator[FileFeed]:
    """Open ``path`` and feed it from ``offset`` on.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as exc:
        raise UsageError(f"cannot send {path}", seen=exc.strerror or str(exc)) from exc
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        yield FileFeed(descriptor, offset)
    finally:
        os.close(descriptor)
