"""A file of this machine that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedeploy.errors import UsageError


@contextmanager
def whole_or_absent(local: Path) -> Iterator[Path]:
    """Give a path beside ``local`` to write to; it replaces ``local`` when the block ends well, and goes otherwise.

    Raises:
        UsageError: the file cannot take its place.
    """
    part = local.with_name(f".{local.name[:200]}.{os.getpid()}.part")
    try:
        yield part
        part.replace(local)
    except OSError as exc:
        raise UsageError(f"cannot write {local} on this machine", seen=str(exc)) from exc
    finally:
        part.unlink(missing_ok=True)


def size_of_file_to_send(local: Path) -> int:
    """Return the size in bytes of a file that is about to be sent.

    Raises:
        UsageError: it is not there, or is no regular file.
    """
    try:
        size_bytes = local.stat().st_size
    except OSError as exc:
        raise UsageError(f"cannot send {local}", seen=str(exc)) from exc
    if not local.is_file():
        raise UsageError(f"cannot send {local}", seen="it is no regular file")
    return size_bytes
