"""What this machine is, in the words targets use."""

from __future__ import annotations

import platform
import sys

from edgedeploy.domain.target import Abi, Os
from edgedeploy.errors import UsageError

_ABIS: dict[tuple[str, str], Abi] = {
    ("linux", "x86_64"): "linux-x86_64",
    ("linux", "aarch64"): "linux-aarch64",
    ("darwin", "arm64"): "macos-arm64",
}


def host_abi() -> Abi:
    """This machine's ABI.

    Raises:
        UsageError: edgedeploy has no runner for such a machine.
    """
    abi = _ABIS.get((sys.platform, platform.machine()))
    if abi is None:
        raise UsageError(
            "this machine cannot be a target itself",
            seen=f"{sys.platform} on {platform.machine()}",
            next_step="run edgedeploy on Linux (x86_64, aarch64) or macOS (arm64); it reaches other devices from there",
        )
    return abi


def host_os() -> Os:
    """This machine's operating system."""
    return "macos" if sys.platform == "darwin" else "linux"
