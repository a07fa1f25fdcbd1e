"""What arrived, on the medium before a release leads to it: a device may lose power at any moment.

A file system is free to write a name before what it names. Toybox has ``fsync FILE…``; GNU (since 8.24) and busybox have
``sync FILE…``; an older ``sync``, and a Mac's, knows no files and writes all that there is, which does, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgedeploy.deploy.device_shell import ANY_FAILURE, LIMIT_S, DeviceShell
from edgedeploy.errors import CommandTimeoutError

FLUSH = "if command -v fsync >/dev/null 2>&1; then flush=fsync; else flush=sync; fi"
"""A line for scripts: ``$flush`` is what has files and folders on the medium."""

_MOST_BY_NAME = 32  # each waits for the medium: 5 to 50 ms on a card
_WRITTEN_BYTES_PER_S = 8e6  # by a slow card
# Many at once: their whole file system, or all of them where sync does not know -f.
_FLUSH_BLOBS = (
    FLUSH
    + """
cd "$1" || exit 1
shift
if [ $# -eq 0 ]; then sync -f blobs 2>/dev/null || sync; else $flush "$@" && $flush blobs; fi
"""
)


def flush_blobs(shell: DeviceShell, root: str, sizes: Mapping[str, int]) -> str:
    """Wait until blobs and their names are on the medium, no longer than a slow card takes; what went wrong, or nothing.

    ``sizes`` are in bytes, by SHA-256. A medium that is busy with something else is no reason to fail.
    """
    names = [f"blobs/{sha}" for sha in sorted(sizes)] if len(sizes) <= _MOST_BY_NAME else []
    limit_s = LIMIT_S + sum(sizes.values()) / _WRITTEN_BYTES_PER_S
    try:
        done = shell.run(_FLUSH_BLOBS, root, *names, timeout_s=limit_s, expected=ANY_FAILURE)
    except CommandTimeoutError:
        return f"not within {limit_s:.0f} s"
    if done.exit_code == 0:
        return ""
    return done.stderr.decode(errors="replace").strip()[-200:] or f"exit code {done.exit_code}"
