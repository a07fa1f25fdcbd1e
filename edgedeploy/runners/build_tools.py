"""CMake and compilers: found, asked for their version, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgedeploy.errors import InternalError, MissingToolError
from edgedeploy.runners.abi import LinuxAbi, host_abi

if TYPE_CHECKING:
    from collections.abc import Sequence

# runner/CMakeLists.txt asks for this; Ubuntu 22.04 has it, Debian 12 has 3.25.
_CMAKE_MIN = (3, 22)
_VERSION_TIMEOUT_S = 30
_BUILD_TIMEOUT_S = 600
_SEEN_LINES = 12
# What users set for their own programs, and what must not decide how a runner for another machine is compiled.
_ENV_LEFT_OUT = frozenset({"CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "CXX", "CMAKE_TOOLCHAIN_FILE"})
_CMAKE_NEXT_STEP = "pip install 'edgedeploy[native]'"


class Toolchain(msgspec.Struct, frozen=True, kw_only=True):
    """A C and C++ compiler for one ABI. ``identity`` changes whenever another compiler would be used."""

    c: str
    cxx: str
    strip: str
    identity: str


class CMake(msgspec.Struct, frozen=True, kw_only=True):
    """A CMake that is new enough, with arguments that choose its generator."""

    program: str
    generator: tuple[str, ...]


def run_tool(argv: Sequence[str], *, what: str, timeout_s: float = _BUILD_TIMEOUT_S) -> str:
    """Run a build tool and return its stdout.

    Raises:
        MissingToolError: it ended with an error, or not in time; ``what`` says what was tried.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _ENV_LEFT_OUT}
    environment["LC_ALL"] = "C"
    command = " ".join(argv)
    try:
        done = subprocess.run(
            argv, capture_output=True, check=False, timeout=timeout_s, env=environment, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(f"{what}: no end after {timeout_s:.0f} s", seen=command) from error
    except OSError as error:
        raise MissingToolError(f"{what}: {argv[0]} cannot be started", seen=str(error)) from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
        raise MissingToolError(
            f"{what}: {Path(argv[0]).name} ended with code {done.returncode}",
            seen="\n        ".join(lines[-_SEEN_LINES:]) or "no output",
            next_step=f"run it yourself to see all of it: {command}",
        )
    return done.stdout.decode("utf-8", "replace")


def _in_environment(name: str) -> str | None:
    """Return the program of this Python environment, which need not be on PATH (a venv that is not activated)."""
    return shutil.which(name, path=sysconfig.get_path("scripts"))


def _cmake_version(program: str) -> tuple[int, ...]:
    try:
        said = run_tool([program, "--version"], what="asking CMake for its version", timeout_s=_VERSION_TIMEOUT_S)
    except MissingToolError:
        return ()  # a broken one beside a good one must not be in the way
    found = re.search(r"cmake version (\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()


def find_cmake() -> CMake:
    """Return the newest CMake of this Python environment and of PATH.

    Raises:
        MissingToolError: there is none, it is too old, or it would have neither ninja nor make.
    """
    candidates = {path for path in (_in_environment("cmake"), shutil.which("cmake")) if path}
    versions = sorted((_cmake_version(path), path) for path in candidates)
    if not versions or versions[-1][0] < _CMAKE_MIN:
        wanted = ".".join(map(str, _CMAKE_MIN))
        raise MissingToolError(
            f"building a native runner needs CMake {wanted} or newer",
            seen=", ".join(f"{path} {'.'.join(map(str, version))}" for version, path in versions) or "no cmake",
            next_step=_CMAKE_NEXT_STEP,
        )
    ninja = _in_environment("ninja") or shutil.which("ninja")
    if ninja:
        return CMake(program=versions[-1][1], generator=("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"))
    if shutil.which("make"):
        return CMake(program=versions[-1][1], generator=("-G", "Unix Makefiles"))
    raise MissingToolError(
        "building a native runner needs ninja or make", seen="neither is installed", next_step=_CMAKE_NEXT_STEP
    )


def find_toolchain(abi: LinuxAbi) -> Toolchain:
    """Return the compiler of this machine, or a cross compiler, for ``abi``.

    Raises:
        MissingToolError: it is not installed; with the package's name on Debian and Ubuntu.
    """
    machine = abi.removeprefix("linux-")
    native = host_abi() == abi
    prefix = "" if native else f"{machine}-linux-gnu-"
    package = "g++" if native else f"g++-{machine.replace('_', '-')}-linux-gnu"
    found = {name: shutil.which(f"{prefix}{name}") for name in ("gcc", "g++", "strip")}
    missing = [f"{prefix}{name}" for name, path in found.items() if path is None]
    if missing:
        raise MissingToolError(
            f"building a native runner for {abi} needs a C++ compiler for it",
            seen=f"not installed: {', '.join(missing)}",
            next_step=f"sudo apt install {package}",
        )
    c, cxx, strip = (str(found[name]) for name in ("gcc", "g++", "strip"))
    said = run_tool([cxx, "--version"], what="asking the compiler for its version", timeout_s=_VERSION_TIMEOUT_S)
    return Toolchain(c=c, cxx=cxx, strip=strip, identity=f"{cxx} {said.splitlines()[0] if said else ''}")


def compiler_arguments(abi: LinuxAbi, toolchain: Toolchain) -> tuple[str, ...]:
    """Return arguments that make CMake compile for ``abi`` with this compiler."""
    return (
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={abi.removeprefix('linux-')}",
        f"-DCMAKE_C_COMPILER={toolchain.c}",
        f"-DCMAKE_CXX_COMPILER={toolchain.cxx}",
    )


def sysroot_file(toolchain: Toolchain, name: str) -> Path:
    """Return a file that the compiler links with, such as ``libc.so.6``.

    Raises:
        InternalError: the compiler does not know it.
    """
    said = run_tool(
        [toolchain.c, f"-print-file-name={name}"], what=f"asking the compiler for {name}", timeout_s=_VERSION_TIMEOUT_S
    ).strip()
    # A name it does not know is printed back as it is.
    if not Path(said).is_absolute() or not Path(said).exists():
        raise InternalError(f"the compiler {toolchain.c} has no {name}", seen=said)
    return Path(said).resolve()
