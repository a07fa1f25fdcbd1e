"""What stands in for an Android NDK where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgedeploy.shipped import shipped


def stand_in_ndk(folder: Path) -> Path:
    """Not an NDK, but a folder of its shape with Debian's cross compiler: enough to see that CMake is led right."""
    toolchain = folder / "build/cmake/android.toolchain.cmake"
    toolchain.parent.mkdir(parents=True)
    check = 'if(NOT ANDROID_ABI STREQUAL "arm64-v8a")\n  message(FATAL_ERROR "ANDROID_ABI is ${ANDROID_ABI}")\nendif()\n'
    check = "set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ANDROID_ABI)\n" + check
    toolchain.write_text(check + (shipped("runner") / "cmake/linux-aarch64.cmake").read_text("utf-8"))
    prebuilt = folder / "toolchains/llvm/prebuilt/linux-x86_64"
    (prebuilt / "bin").mkdir(parents=True)
    strip = shutil.which("aarch64-linux-gnu-strip")
    if strip is None:
        pytest.skip("the stand-in for the NDK needs g++-aarch64-linux-gnu")
    (prebuilt / "bin/llvm-strip").symlink_to(strip)
    library = prebuilt / "sysroot/usr/lib/aarch64-linux-android/libc++_shared.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"a stand-in")
    return folder
