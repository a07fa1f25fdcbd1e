"""What this machine is, in the words targets use."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from pathlib import Path

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


def available_memory_bytes(root: Path = Path("/")) -> int | None:
    """What a new process can have without swapping: the kernel's estimate, or less in a container. None: not known.

    Linux says so in ``/proc/meminfo`` (``MemAvailable``) and, for a container, in the files of cgroup v2.
    """
    known = []
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        known.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # "max" is no limit
        limit, used = (int((root / f"sys/fs/cgroup/memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        known.append(limit - used)
    return min(known) if known else None
