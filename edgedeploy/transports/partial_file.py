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
