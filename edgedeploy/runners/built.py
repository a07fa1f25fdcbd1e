"""A program of ``runner/``, built with CMake at most once for what could change a byte of it."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.domain.release import FileEntry, LocalFile, RunnerBundle
from edgedeploy.runners.android import LOADER
from edgedeploy.runners.build_tools import find_cmake, run_tool
from edgedeploy.runners.local_file import local_file, sha256_of
from edgedeploy.runners.sdk import take_place
from edgedeploy.shipped import shipped

Emit = Callable[[str], None]

# To be raised whenever the way of building or bundling changes without any file of runner/ changing.
_RECIPE = "1"
_BUNDLE_FILE = "bundle.json"
_SOURCE_FOLDERS = ("src", "cmake")


class BuildRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What is built and bundled. ``libraries`` are stripped, ``system_files`` are copied as they are."""

    name: str
    program: str
    cmake_arguments: tuple[str, ...]
    strip: str
    libraries: tuple[Path, ...] = ()
    system_files: tuple[tuple[str, Path], ...] = ()
    start: tuple[str, ...]
    identity: str


def built_once(recipe: BuildRecipe, *, cache_dir: Path, emit: Emit) -> RunnerBundle:
    """Return what ``recipe`` gives, built when it is not in the cache; two processes at once build once.

    Raises:
        MissingToolError: CMake is not there, or the build ended with an error.
    """
    folder = cache_dir / "built" / f"{recipe.name}-{_key(recipe)}"
    with _only_one_process(folder):
        bundle = _cached(folder, recipe)
        if bundle is None:
            emit(f"building {recipe.name} (once)")
            bundle = _build(folder, recipe)
    return bundle


def _sources() -> tuple[tuple[str, Path], ...]:
    root = shipped("runner")
    files = [root / "CMakeLists.txt"]
    files += [path for folder in _SOURCE_FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    return tuple(sorted((path.relative_to(root).as_posix(), path) for path in files))


def _key(recipe: BuildRecipe) -> str:
    """Return a name for what the build gives: it changes with anything that could change a byte of it."""
    lines = [_RECIPE, recipe.name, recipe.identity, recipe.strip, *recipe.start]
    lines += [argument for argument in recipe.cmake_arguments if not argument.startswith("-DEXECUTORCH_SDK=")]
    lines += [f"{sha256_of(path)} {name}" for name, path in _sources()]
    lines += [f"{sha256_of(path)} {path.name}" for path in recipe.libraries]
    lines += [f"{sha256_of(path)} {name}" for name, path in recipe.system_files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@contextmanager
def _only_one_process(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("wb") as lock:
        # Let go by the kernel when this process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cached(folder: Path, recipe: BuildRecipe) -> RunnerBundle | None:
    try:
        entries = decode((folder / _BUNDLE_FILE).read_bytes(), tuple[FileEntry, ...])
        whole = all((folder / entry.path).stat().st_size == entry.size_bytes for entry in entries)
    except (OSError, msgspec.DecodeError):
        whole = False
    if not whole:
        # Never half built, because a build is renamed into place; but somebody may have cleaned up in it.
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return _bundle(folder, recipe, entries)


def _bundle(folder: Path, recipe: BuildRecipe, entries: tuple[FileEntry, ...]) -> RunnerBundle:
    files = tuple(LocalFile(local=str((folder / entry.path).resolve()), entry=entry) for entry in entries)
    return RunnerBundle(name=recipe.name, files=files, start=recipe.start)


def _build(folder: Path, recipe: BuildRecipe) -> RunnerBundle:
    cmake = find_cmake()
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        build, result = scratch / "build", scratch / "result"
        result.mkdir()
        what = f"building {recipe.name}"
        configure = [cmake.program, "-S", str(shipped("runner")), "-B", str(build), *cmake.generator]
        run_tool([*configure, "-DBUILD_TESTING=OFF", *recipe.cmake_arguments], what=what)
        run_tool([cmake.program, "--build", str(build), "--target", recipe.program], what=what)
        for path in (build / recipe.program, *recipe.libraries):
            copy = result / path.name
            shutil.copyfile(path, copy)
            run_tool([recipe.strip, "--strip-unneeded", str(copy)], what=what)
        for name, path in recipe.system_files:
            shutil.copyfile(path, result / name)
        programs = {recipe.program, LOADER}
        for path in result.iterdir():
            path.chmod(0o755 if path.name in programs else 0o644)
        entries = tuple(local_file(path, path.name, executable=path.name in programs).entry for path in sorted(result.iterdir()))
        (result / _BUNDLE_FILE).write_bytes(msgspec.json.encode(entries))
        take_place(result, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return _bundle(folder, recipe, entries)
