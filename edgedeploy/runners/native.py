"""The native runners, built from ``runner/`` with CMake, once per ABI, SDK and compiler."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.domain.release import FileEntry, LocalFile, RunnerBundle
from edgedeploy.runners.abi import Engine, LinuxAbi, native_abi
from edgedeploy.runners.android import GLIBC_FILES, LOADER, AndroidSdk, find_android_sdk, why_no_ndk
from edgedeploy.runners.build_tools import Toolchain, find_cmake, find_toolchain, run_tool, sysroot_file
from edgedeploy.runners.local_file import local_file, sha256_of
from edgedeploy.runners.sdk import find_sdk, take_place
from edgedeploy.shipped import shipped

Emit = Callable[[str], None]

# To be raised whenever the way of building or bundling changes without any file of runner/ changing.
_RECIPE = "1"
_BUNDLE_FILE = "bundle.json"
_SOURCE_FOLDERS = ("src", "cmake")


class _Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What is built and bundled. ``libraries`` are stripped, ``system_files`` are copied as they are."""

    name: str
    program: str
    cmake_arguments: tuple[str, ...]
    strip: str
    libraries: tuple[Path, ...]
    system_files: tuple[tuple[str, Path], ...]
    start: tuple[str, ...]
    identity: str


def native_runner(engine: Engine, abi: str, *, cache_dir: Path, emit: Emit) -> RunnerBundle:
    """Return the native runner of an engine for an ABI, built when it is not in the cache.

    ``android-arm64`` is built with the Android NDK where ANDROID_NDK_HOME and EDGEDEPLOY_ANDROID_EXECUTORCH or
    EDGEDEPLOY_ANDROID_LITERT name what that needs. Otherwise it is a glibc program that is started by a glibc loader of
    its own. **Neither has ever run on a real phone**; see :mod:`edgedeploy.runners.android`.

    Two processes may ask for the same runner at once: one builds, the other waits. The first build takes about 15 s of
    CPU, and 18 MB of download for an ABI other than this machine's; afterwards some 50 ms, for digests.

    Args:
        engine: which one; its version is pinned.
        abi: ``linux-x86_64``, ``linux-aarch64``, ``android-arm64``, or ``host`` for this machine's own.
        cache_dir: everything is kept below it; the bundle's files lie there and stay there.
        emit: told what takes time: a download, a build.

    Raises:
        UsageError: there is no native runner for that ABI.
        MissingToolError: a compiler, CMake or the engine's wheel is not there; with the command that brings it.
    """
    wanted = native_abi(abi)
    if wanted != "android-arm64":
        recipe = _linux_recipe(engine, wanted, cache_dir, emit)
    elif missing := why_no_ndk(engine):
        emit(f"{engine} runner for Android: {missing} not set, taking the glibc program (CPU only)")
        recipe = _android_glibc_recipe(engine, cache_dir, emit)
    else:
        recipe = _android_ndk_recipe(engine, find_android_sdk(engine))
    folder = cache_dir / "built" / f"{recipe.name}-{_key(recipe)}"
    with _only_one_process(folder):
        bundle = _cached(folder, recipe)
        if bundle is None:
            emit(f"building {recipe.name} (once)")
            bundle = _build(folder, recipe)
    return bundle


def _engine_arguments(engine: Engine, root: Path) -> tuple[str, ...]:
    if engine == "executorch":
        return (f"-DEXECUTORCH_SDK={root}", "-DBUILD_LITERT_RUNNER=OFF")
    return ("-DBUILD_LITERT_RUNNER=ON",)


def _linux_recipe(engine: Engine, abi: LinuxAbi, cache_dir: Path, emit: Emit) -> _Recipe:
    toolchain = find_toolchain(abi)
    sdk = find_sdk(engine, abi, cache_dir=cache_dir, emit=emit)
    program = f"{engine}_runner"
    return _Recipe(
        name=f"{engine}-{abi}",
        program=program,
        cmake_arguments=(*_compiler_arguments(abi, toolchain), *_engine_arguments(engine, sdk.root)),
        strip=toolchain.strip,
        libraries=sdk.libraries,
        system_files=(),
        # Files of a release are links into a store: $ORIGIN would be the store, where no library has its name.
        start=("env", "LD_LIBRARY_PATH={dir}", f"{{dir}}/{program}"),
        identity=f"{toolchain.identity}\n{sdk.version}",
    )


def _compiler_arguments(abi: LinuxAbi, toolchain: Toolchain) -> tuple[str, ...]:
    return (
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={abi.removeprefix('linux-')}",
        f"-DCMAKE_C_COMPILER={toolchain.c}",
        f"-DCMAKE_CXX_COMPILER={toolchain.cxx}",
    )


def _android_glibc_recipe(engine: Engine, cache_dir: Path, emit: Emit) -> _Recipe:
    linux = _linux_recipe(engine, "linux-aarch64", cache_dir, emit)
    toolchain = find_toolchain("linux-aarch64")
    start = (f"{{dir}}/{LOADER}", "--library-path", "{dir}", f"{{dir}}/{linux.program}")
    system_files = tuple((name, sysroot_file(toolchain, name)) for name in GLIBC_FILES)
    return msgspec.structs.replace(linux, name=f"{engine}-android-arm64-glibc", start=start, system_files=system_files)


def _android_ndk_recipe(engine: Engine, sdk: AndroidSdk) -> _Recipe:
    program = f"{engine}_runner"
    names = ";".join(path.name.removeprefix("lib").removesuffix(".so") for path in sdk.libraries)
    link = (f"-DEXECUTORCH_LIBRARIES={names}",) if engine == "executorch" else ()
    return _Recipe(
        name=f"{engine}-android-arm64-ndk",
        program=program,
        cmake_arguments=(*sdk.cmake_arguments, *_engine_arguments(engine, sdk.engine), *link),
        strip=str(sdk.strip),
        libraries=sdk.libraries,
        system_files=((sdk.cxx_library.name, sdk.cxx_library),),
        start=("env", "LD_LIBRARY_PATH={dir}", f"{{dir}}/{program}"),
        identity=sdk.identity,
    )


def _sources() -> tuple[tuple[str, Path], ...]:
    root = shipped("runner")
    files = [root / "CMakeLists.txt"]
    files += [path for folder in _SOURCE_FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    return tuple(sorted((path.relative_to(root).as_posix(), path) for path in files))


def _key(recipe: _Recipe) -> str:
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


def _cached(folder: Path, recipe: _Recipe) -> RunnerBundle | None:
    try:
        entries = msgspec.json.decode((folder / _BUNDLE_FILE).read_bytes(), type=tuple[FileEntry, ...])
        whole = all((folder / entry.path).stat().st_size == entry.size_bytes for entry in entries)
    except (OSError, msgspec.DecodeError):
        whole = False
    if not whole:
        # Never half built, because a build is renamed into place; but somebody may have cleaned up in it.
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return _bundle(folder, recipe, entries)


def _bundle(folder: Path, recipe: _Recipe, entries: tuple[FileEntry, ...]) -> RunnerBundle:
    files = tuple(LocalFile(local=str((folder / entry.path).resolve()), entry=entry) for entry in entries)
    return RunnerBundle(name=recipe.name, files=files, start=recipe.start)


def _build(folder: Path, recipe: _Recipe) -> RunnerBundle:
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
