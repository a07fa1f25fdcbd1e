"""Things that are built once per machine: each in a folder named after what it was made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """The folder that holds the built roots: ``$EDGEDEPLOY_STANDINS``, else under the user's cache folder."""
    chosen = os.environ.get("EDGEDEPLOY_STANDINS")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edgedeploy-standins"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock ``name``; a second process waits here until the first has finished."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def built_once(name: str, recipe: Sequence[Path], build: Callable[[Path], None]) -> Path:
    """The folder that ``build`` fills, built at most once for the present contents of the ``recipe`` files.

    ``build`` gets an empty folder, which gets its final name only when ``build`` has returned: a build that was
    interrupted is never seen by anyone.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(recipe))).hexdigest()[:12]
    final = cache_dir() / f"{name}-{digest}"
    if final.is_dir():
        return final
    with locked(name):
        if final.is_dir():
            return final
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_dir()))
        try:
            build(unfinished)
            unfinished.chmod(0o755)
            unfinished.rename(final)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return final
