"""A process of its own: the command line, with whatever it may need imported before; then how much more memory it took.

``python peak.py FILE push …`` runs ``edgedeploy push …`` and writes the bytes to FILE: the peak of resident memory, less what
the imports had taken. Linux only: the peak is reset by ``/proc/self/clear_refs``.
"""

from __future__ import annotations

import atexit
import importlib
import re
import sys
from pathlib import Path

_WHATEVER = (
    "blake3 numpy paramiko sqlalchemy.dialects.sqlite rich.progress edgedeploy.cli edgedeploy.cli.push edgedeploy.cli.progress "
    "edgedeploy.pipeline edgedeploy.results.store edgedeploy.transports.adb edgedeploy.transports.ssh edgedeploy.probes.android "
    "edgedeploy.probes.linux"
)


def resident_bytes(kind: str) -> int:
    """``VmRSS`` is what this process has now, ``VmHWM`` the most it had."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) << 10


def main() -> None:
    """Run the command line."""
    for name in _WHATEVER.split():
        importlib.import_module(name)
    file = Path(sys.argv.pop(1))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resident_bytes("VmRSS")
    atexit.register(lambda: file.write_text(str(resident_bytes("VmHWM") - before), encoding="ascii"))
    importlib.import_module("edgedeploy.cli").main()


if __name__ == "__main__":
    main()
