"""A program that stands between us and a board: ``ProxyCommand``, or ssh itself for ``ProxyJump``."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Sequence

from edgedeploy.transports.timed_process import kill_group

_SEEN_CHARACTERS = 300
_END_S = 1.0


class Proxy:
    """Runs until it is closed; ``socket`` is its stdin and stdout.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.socket, theirs = socket.socketpair()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    list(argv), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._complaints, start_new_session=True
                )
        except BaseException:
            self.socket.close()
            self._complaints.close()
            raise

    def complaints(self) -> str:
        """What it has said on stderr, the end of it; it is given a moment to end by itself first."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_S)
        self._complaints.seek(0)
        return self._complaints.read().decode(errors="replace").strip()[-_SEEN_CHARACTERS:]

    def close(self) -> None:
        """End it, with all that it started."""
        kill_group(self._process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_S)
        self._complaints.close()
