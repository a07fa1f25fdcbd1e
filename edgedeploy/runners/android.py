"""The runner for a phone: with an NDK a real Android program, without one a glibc program that brings its glibc.

Neither has ever run on a real phone. The glibc bundle ran under a real adbd in an Android-shaped root without glibc,
with the processor emulated; it knows the CPU and XNNPACK only. The NDK's build has been configured with a stand-in
toolchain, because there is no NDK where this project is developed.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edgedeploy.errors import MissingToolError
from edgedeploy.runners.abi import Engine

# Android 9, of 2018: older phones are not worth a build of their own.
_ANDROID_PLATFORM = "android-28"
_PREBUILT = "toolchains/llvm/prebuilt/*"
_LIBRARY_FOLDER_VARIABLE: dict[Engine, str] = {
    "executorch": "EDGEDEPLOY_ANDROID_EXECUTORCH",
    "litert": "EDGEDEPLOY_ANDROID_LITERT",
}

LOADER = "ld-linux-aarch64.so.1"
# All that the engines' wheels and the runners ask for, transitively; a test follows the ELF headers.
GLIBC_FILES = (
    LOADER,
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)


class AndroidNdk(msgspec.Struct, frozen=True, kw_only=True):
    """Google's compilers for Android, in the folder ``root``."""

    root: Path
    strip: Path
    cxx_library: Path

    @property
    def cmake_arguments(self) -> tuple[str, ...]:
        """Arguments that make CMake build for Android."""
        return (
            f"-DCMAKE_TOOLCHAIN_FILE={self.root / 'build/cmake/android.toolchain.cmake'}",
            "-DANDROID_ABI=arm64-v8a",
            f"-DANDROID_PLATFORM={_ANDROID_PLATFORM}",
            "-DANDROID_STL=c++_shared",
        )

    @property
    def identity(self) -> str:
        """Changes with the NDK."""
        properties = self.root / "source.properties"
        return properties.read_text("utf-8") if properties.is_file() else str(self.root)


class AndroidSdk(msgspec.Struct, frozen=True, kw_only=True):
    """An NDK, and the engine built for Android.

    ``engine`` holds ``lib/*.so`` (and ``include/`` for ExecuTorch), as unpacked from the engine's AAR or built from
    its source for ``arm64-v8a``.
    """

    ndk: AndroidNdk
    engine: Path

    @property
    def libraries(self) -> tuple[Path, ...]:
        """The engine's libraries for Android."""
        return tuple(sorted((self.engine / "lib").glob("lib*.so")))


def why_no_ndk(engine: Engine) -> str:
    """Return what is not set for a build with the NDK; empty when all is."""
    missing = [] if has_ndk() else ["ANDROID_NDK_HOME"]
    missing += [] if os.environ.get(_LIBRARY_FOLDER_VARIABLE[engine]) else [_LIBRARY_FOLDER_VARIABLE[engine]]
    return " and ".join(missing)


def has_ndk() -> bool:
    """Return whether the environment names an NDK, whatever lies there."""
    return _ndk_variable() != ""


def find_android_ndk() -> AndroidNdk:
    """Return the NDK that the environment names.

    Raises:
        MissingToolError: it names none, or a folder without what an NDK has.
    """
    if not has_ndk():
        raise MissingToolError("a build with the Android NDK needs ANDROID_NDK_HOME")
    root = Path(_ndk_variable())
    strip = next(root.glob(f"{_PREBUILT}/bin/llvm-strip"), None)
    cxx_library = next(root.glob(f"{_PREBUILT}/sysroot/usr/lib/aarch64-linux-android/libc++_shared.so"), None)
    if strip is None or cxx_library is None or not (root / "build/cmake/android.toolchain.cmake").is_file():
        raise MissingToolError("ANDROID_NDK_HOME does not name an Android NDK", where=str(root))
    return AndroidNdk(root=root, strip=strip, cxx_library=cxx_library)


def find_android_sdk(engine: Engine) -> AndroidSdk:
    """Return the NDK and the engine that the environment names.

    Raises:
        MissingToolError: a variable is not set, or names a folder without what it should have.
    """
    if missing := why_no_ndk(engine):
        raise MissingToolError(f"a build with the Android NDK needs {missing}")
    ndk = find_android_ndk()
    folder = Path(os.environ[_LIBRARY_FOLDER_VARIABLE[engine]])
    if not any((folder / "lib").glob("lib*.so")):
        raise MissingToolError(f"{_LIBRARY_FOLDER_VARIABLE[engine]} names a folder without lib/lib*.so", where=str(folder))
    return AndroidSdk(ndk=ndk, engine=folder)


def _ndk_variable() -> str:
    return os.environ.get("ANDROID_NDK_HOME") or os.environ.get("ANDROID_NDK_ROOT") or ""
