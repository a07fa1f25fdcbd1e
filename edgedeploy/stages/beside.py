"""A connection on which every program runs with a loop beside it on the device, which writes what it sees to a file there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgedeploy.errors import DeviceRunError
from edgedeploy.ports import RUNNER_APP, ByteProgress, Completed, Connection, Feed


class Beside:
    """The same connection, but :meth:`run` starts what ``wrap`` makes of a command and the seconds that it is waited for."""

    def __init__(self, connection: Connection, file: str, wrap: Callable[[Sequence[str], float], list[str]]) -> None:
        self._connection = connection
        self._file = file
        self._wrap = wrap

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Run one command and wait; see :class:`edgedeploy.ports.Connection`."""
        wrapped = argv if argv[0] == RUNNER_APP else self._wrap(argv, timeout_s)  # nothing runs beside an iPhone's app
        return self._connection.run(wrapped, timeout_s=timeout_s, stdin=stdin)

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        """Run one command on ``source``, alone; see :class:`edgedeploy.ports.Connection`."""
        return self._connection.pour(argv, source, quiet_s=quiet_s, progress=progress)

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a file; see :class:`edgedeploy.ports.Connection`."""
        self._connection.fetch(remote, local)

    def close(self) -> None:
        """Let go; see :class:`edgedeploy.ports.Connection`."""
        self._connection.close()

    def written(self) -> str:
        """What the loops have written so far; empty where they could not.

        Raises:
            DeviceLostError: the device went away.
        """
        with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
            local = Path(folder) / "written.txt"
            try:
                self._connection.fetch(self._file, local)
            except DeviceRunError:  # no such file: nothing was started, or the kernel has no /proc
                return ""
            return local.read_text(encoding="utf-8", errors="replace")
