"""ABIs that native runners are built for, and how their wheels and compilers are called."""

from __future__ import annotations

import platform
import sys
from typing import Literal

from edgedeploy.errors import UsageError

Engine = Literal["executorch", "litert"]
NativeAbi = Literal["linux-x86_64", "linux-aarch64", "android-arm64"]
LinuxAbi = Literal["linux-x86_64", "linux-aarch64"]

_NATIVE_ABIS: tuple[NativeAbi, ...] = ("linux-x86_64", "linux-aarch64", "android-arm64")
_MACHINES: dict[str, LinuxAbi] = {
    "x86_64": "linux-x86_64",
    "amd64": "linux-x86_64",
    "aarch64": "linux-aarch64",
    "arm64": "linux-aarch64",
}


def host_abi() -> LinuxAbi | None:
    """Return this machine's own ABI; None where no native runner exists for it (a Mac, for example)."""
    return _MACHINES.get(platform.machine().lower()) if sys.platform == "linux" else None


def native_abi(abi: str) -> NativeAbi:
    """Return ``abi`` as one that can be built for; ``host`` becomes this machine's.

    Raises:
        UsageError: there is no native runner for it.
    """
    wanted = (host_abi() or f"host ({sys.platform} {platform.machine()})") if abi == "host" else abi
    if wanted not in _NATIVE_ABIS:
        raise UsageError(
            f"there is no native runner for the abi '{wanted}'",
            seen=f"known: {', '.join(_NATIVE_ABIS)}",
            next_step="choose a runtime that runs in Python, such as the agent",
        )
    return wanted
