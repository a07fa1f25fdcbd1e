"""Finds out what a model's source depends on, by watching it load: the cache key of everything that follows."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from edgedeploy.deploy.digest import file_sha256
from edgedeploy.worker.job import Dependencies


class Trace:
    """Records the files Python opens for reading between :meth:`start` and :meth:`stop`.

    Files that native code opens by itself are seen only for ``safetensors``; others are to be named in the project file
    (``files = […]`` of the model).
    """

    def __init__(self) -> None:
        self._opened: set[str] = set()
        self._active = False
        self._modules_before = frozenset(sys.modules)
        sys.addaudithook(self._hook)

    def start(self) -> None:
        """Begin to record."""
        self._modules_before = frozenset(sys.modules)
        self._active = True
        _watch_safetensors(self._note)

    def stop(self, extra: tuple[Path, ...]) -> Dependencies:
        """End, and hash what was read. ``extra`` files are depended on in any case."""
        self._active = False
        loaded = {name: module for name, module in sys.modules.items() if name not in self._modules_before}
        own = {Path(file) for file in (_file_of(module) for module in loaded.values()) if file}
        paths = {path.resolve() for path in {*map(Path, self._opened), *own, *extra} if path.is_file()}
        return Dependencies(
            files={str(path): file_sha256(path) for path in sorted(paths) if not _installed(path)},
            distributions=_distributions({name.partition(".")[0] for name in sys.modules} | _installed_tops(paths)),
        )

    def _note(self, path: str) -> None:
        if self._active:
            self._opened.add(path)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._active or event != "open":
            return
        path, mode, flags = arguments
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if isinstance(mode, str):
            reading = not set(mode) & set("wax+")
        else:  # os.open has no mode, and flags
            reading = isinstance(flags, int) and flags & os.O_ACCMODE == os.O_RDONLY
        if reading:
            self._opened.add(os.fsdecode(path))


def _watch_safetensors(note: Callable[[str], None]) -> None:
    try:
        import safetensors
    except ImportError:
        return
    original: Callable[..., object] = safetensors.safe_open

    def watched(filename: str | os.PathLike[str], *rest: object, **named: object) -> object:
        note(os.fspath(filename))
        return original(filename, *rest, **named)

    # A native class that cannot be derived from; libraries only ever call it.
    setattr(safetensors, "safe_open", watched)  # noqa: B010 - a plain assignment would have the wrong type


def _file_of(module: ModuleType) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and file.endswith(".py") else None


def _installed(path: Path) -> bool:
    """Whether a file belongs to Python or an installed distribution: those are known by their version."""
    roots = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots |= {str(Path(root).resolve()) for root in roots}
    text = str(path)
    return text.startswith(("/proc/", "/sys/", "/dev/", *(f"{root}{os.sep}" for root in roots))) or path.suffix == ".pyc"


def _installed_tops(paths: Iterable[Path]) -> set[str]:
    """Top-level names below site-packages: of a distribution, weights may have been read and no module imported."""
    roots = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return {path.relative_to(root).parts[0] for path in paths for root in roots if path.is_relative_to(root)}


def _distributions(tops: set[str]) -> dict[str, str]:
    """Every installed distribution that owns one of these top-level names, with its version."""
    owners = importlib.metadata.packages_distributions()
    names = {owner for top in tops for owner in owners.get(top, ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}
