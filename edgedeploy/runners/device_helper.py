"""``edgedeploy-device``: the program that receives, rebuilds and hashes files on a device (docs/device-helper.md)."""

from __future__ import annotations

from pathlib import Path

from edgedeploy.errors import MissingToolError
from edgedeploy.runners.abi import LinuxAbi, NativeAbi, native_abi
from edgedeploy.runners.android import AndroidNdk, find_android_ndk, has_ndk
from edgedeploy.runners.build_tools import compiler_arguments, find_toolchain
from edgedeploy.runners.built import BuildRecipe, Emit, built_once

_PROGRAM = "edgedeploy-device"
_START = (f"{{dir}}/{_PROGRAM}",)
_ONLY_THE_HELPER = ("-DBUILD_LITERT_RUNNER=OFF", "-DBUILD_DEVICE_HELPER=ON")


def device_helper(abi: str, *, cache_dir: Path, emit: Emit) -> Path:
    """Return the device helper for an ABI, built when it is not in the cache: one static file of less than 1 MB.

    It uses nothing of the device but its kernel, so a phone gets the same file as a board with 64-bit ARM. Where the
    compiler for that is missing and there is an Android NDK, it is built with the NDK. **Neither has ever run on a real
    phone**: the first ran in an Android-shaped root with the processor emulated, the second could not even be compiled
    where this project is developed.

    The first build takes a second, afterwards some 20 ms. A caller that gets no helper does its work by the device's
    own tools.

    Args:
        abi: ``linux-x86_64``, ``linux-aarch64``, ``android-arm64``, or ``host`` for this machine's own.
        cache_dir: as for :func:`edgedeploy.runners.native.native_runner`.
        emit: told when it is built.

    Raises:
        UsageError: there is no native program for that ABI.
        MissingToolError: a compiler, CMake or a static C library is not there.
    """
    bundle = built_once(_recipe(native_abi(abi)), cache_dir=cache_dir, emit=emit)
    (file,) = bundle.files
    return Path(file.local)


def _recipe(abi: NativeAbi) -> BuildRecipe:
    if abi != "android-arm64":
        return _linux_recipe(abi)
    try:
        return _linux_recipe("linux-aarch64")
    except MissingToolError:
        if not has_ndk():
            raise
    return _ndk_recipe(find_android_ndk())


def _linux_recipe(abi: LinuxAbi) -> BuildRecipe:
    toolchain = find_toolchain(abi)
    return BuildRecipe(
        name=f"device-helper-{abi}",
        program=_PROGRAM,
        cmake_arguments=(*compiler_arguments(abi, toolchain), *_ONLY_THE_HELPER),
        strip=toolchain.strip,
        start=_START,
        identity=toolchain.identity,
    )


def _ndk_recipe(ndk: AndroidNdk) -> BuildRecipe:
    return BuildRecipe(
        name="device-helper-android-arm64-ndk",
        program=_PROGRAM,
        cmake_arguments=(*ndk.cmake_arguments, *_ONLY_THE_HELPER),
        strip=str(ndk.strip),
        start=_START,
        identity=ndk.identity,
    )
