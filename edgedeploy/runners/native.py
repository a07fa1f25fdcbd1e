"""The native runners, built from ``runner/`` with CMake, once per ABI, SDK and compiler."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgedeploy.domain.release import RunnerBundle
from edgedeploy.runners.abi import Engine, LinuxAbi, native_abi
from edgedeploy.runners.android import GLIBC_FILES, LOADER, AndroidSdk, find_android_sdk, why_no_ndk
from edgedeploy.runners.build_tools import compiler_arguments, find_toolchain, sysroot_file
from edgedeploy.runners.built import BuildRecipe, Emit, built_once
from edgedeploy.runners.sdk import find_sdk


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
    return built_once(recipe, cache_dir=cache_dir, emit=emit)


def _engine_arguments(engine: Engine, root: Path) -> tuple[str, ...]:
    if engine == "executorch":
        return (f"-DEXECUTORCH_SDK={root}", "-DBUILD_LITERT_RUNNER=OFF")
    return ("-DBUILD_LITERT_RUNNER=ON",)


def _linux_recipe(engine: Engine, abi: LinuxAbi, cache_dir: Path, emit: Emit) -> BuildRecipe:
    toolchain = find_toolchain(abi)
    sdk = find_sdk(engine, abi, cache_dir=cache_dir, emit=emit)
    program = f"{engine}_runner"
    return BuildRecipe(
        name=f"{engine}-{abi}",
        program=program,
        cmake_arguments=(*compiler_arguments(abi, toolchain), *_engine_arguments(engine, sdk.root)),
        strip=toolchain.strip,
        libraries=sdk.libraries,
        # Files of a release are links into a store: $ORIGIN would be the store, where no library has its name.
        start=("env", "LD_LIBRARY_PATH={dir}", f"{{dir}}/{program}"),
        identity=f"{toolchain.identity}\n{sdk.version}",
    )


def _android_glibc_recipe(engine: Engine, cache_dir: Path, emit: Emit) -> BuildRecipe:
    linux = _linux_recipe(engine, "linux-aarch64", cache_dir, emit)
    toolchain = find_toolchain("linux-aarch64")
    start = (f"{{dir}}/{LOADER}", "--library-path", "{dir}", f"{{dir}}/{linux.program}")
    system_files = tuple((name, sysroot_file(toolchain, name)) for name in GLIBC_FILES)
    return msgspec.structs.replace(linux, name=f"{engine}-android-arm64-glibc", start=start, system_files=system_files)


def _android_ndk_recipe(engine: Engine, sdk: AndroidSdk) -> BuildRecipe:
    program = f"{engine}_runner"
    names = ";".join(path.name.removeprefix("lib").removesuffix(".so") for path in sdk.libraries)
    link = (f"-DEXECUTORCH_LIBRARIES={names}",) if engine == "executorch" else ()
    return BuildRecipe(
        name=f"{engine}-android-arm64-ndk",
        program=program,
        cmake_arguments=(*sdk.ndk.cmake_arguments, *_engine_arguments(engine, sdk.engine), *link),
        strip=str(sdk.ndk.strip),
        libraries=sdk.libraries,
        system_files=((sdk.ndk.cxx_library.name, sdk.ndk.cxx_library),),
        start=("env", "LD_LIBRARY_PATH={dir}", f"{{dir}}/{program}"),
        identity=sdk.ndk.identity,
    )
