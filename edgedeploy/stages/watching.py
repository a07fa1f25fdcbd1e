"""A connection on which every program is watched while it runs: how hot, how fast and how busy the device is meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgedeploy.domain.conditions import During
from edgedeploy.errors import DeviceRunError
from edgedeploy.ports import RUNNER_APP, ByteProgress, Completed, Connection, Feed
from edgedeploy.probes.sampler import parse_watched, watched


class Watching:
    """The same connection, but :meth:`run` starts programs with a loop beside them that looks at the device.

    What it sees stays in a file of the folder ``scratch`` on the device until :meth:`seen` fetches it.
    """

    def __init__(self, connection: Connection, scratch: str, cpus: Sequence[int]) -> None:
        self._connection = connection
        self._file = f"{scratch}/conditions.txt"
        self._cpus = tuple(cpus)

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Run one command and wait; see :class:`edgedeploy.ports.Connection`."""
        if argv[0] == RUNNER_APP:  # an iPhone has no shell
            return self._connection.run(argv, timeout_s=timeout_s, stdin=stdin)
        return self._connection.run(watched(argv, self._file, self._cpus), timeout_s=timeout_s, stdin=stdin)

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        """Run one command on ``source``, unwatched; see :class:`edgedeploy.ports.Connection`."""
        return self._connection.pour(argv, source, quiet_s=quiet_s, progress=progress)

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a file; see :class:`edgedeploy.ports.Connection`."""
        self._connection.fetch(remote, local)

    def close(self) -> None:
        """Let go; see :class:`edgedeploy.ports.Connection`."""
        self._connection.close()

    def seen(self) -> During:
        """What the loop saw beside all programs so far. A device that cannot be watched says nothing.

        Raises:
            DeviceLostError: the device went away.
        """
        with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
            local = Path(folder) / "conditions.txt"
            try:
                self._connection.fetch(self._file, local)
            except DeviceRunError:  # no such file: no program was started, or the kernel has no /proc
                return parse_watched("")
            return parse_watched(local.read_text(encoding="utf-8", errors="replace"))
