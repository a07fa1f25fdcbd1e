"""Finds out what a model's source depends on, by watching it load: the cache key of everything that follows."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache
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
        self._watch_python()

    def start(self) -> None:
        """Begin to record."""
        self._modules_before = frozenset(sys.modules)
        self._active = True
        _watch_safetensors(self._note)

    def stop(self, extra: tuple[Path, ...]) -> Dependencies:
        """End, and hash what was read. ``extra`` files are depended on in any case."""
        self._active = False
        loaded = [module for name, module in sys.modules.items() if name not in self._modules_before]
        own = {file for file in map(_file_of, loaded) if file}
        files = _resolved({*self._opened, *own, *map(str, extra)})
        installed = _installed_roots()
        return Dependencies(
            files={
                file: file_sha256(Path(file))
                for file in sorted(files)
                if not file.startswith(installed) and not file.endswith(".pyc")
            },
            distributions=_distributions({name.partition(".")[0] for name in sys.modules} | _installed_tops(files)),
        )

    def _note(self, path: str) -> None:
        if self._active:
            self._opened.add(path)

    def _watch_python(self) -> None:
        # A hook stays for good, and PyTorch calls id(), which is an event, some million times per export. Of all callables
        # a plain function is called the quickest: a bound method took five times as long, a twentieth of an export's time.
        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and self._active:
                self._note_open(*arguments)

        sys.addaudithook(hook)

    def _note_open(self, path: object, mode: object, flags: object) -> None:
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


def _resolved(names: Iterable[str]) -> set[str]:
    """Absolute paths, free of links, of those that are files. A folder is resolved once: thousands lie in some hundred."""
    folder = cache(Path.resolve)
    paths = (Path(name) for name in names)
    return {str(path.resolve() if path.is_symlink() else folder(path.parent) / path.name) for path in paths if path.is_file()}


def _installed_roots() -> tuple[str, ...]:
    """What files begin with that belong to Python, to an installed distribution (both known by version), or to the kernel."""
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return ("/proc/", "/sys/", "/dev/", *(f"{path}{os.sep}" for root in roots for path in (root, root.resolve())))


def _installed_tops(files: Iterable[str]) -> set[str]:
    """Top-level names below site-packages: of a distribution, weights may have been read and no module imported."""
    roots = tuple({f"{Path(sysconfig.get_path(name)).resolve()}{os.sep}" for name in ("purelib", "platlib")})
    return {file.removeprefix(root).partition(os.sep)[0] for file in files for root in roots if file.startswith(root)}


def _distributions(tops: set[str]) -> dict[str, str]:
    """Every installed distribution that owns one of these top-level names, with its version."""
    owners = importlib.metadata.packages_distributions()
    names = {owner for top in tops for owner in owners.get(top, ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}
