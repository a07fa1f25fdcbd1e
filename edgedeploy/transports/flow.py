"""What goes through a command's stdin: told as it moves, and watched for standing still."""

from __future__ import annotations

import time

from edgedeploy.ports import ByteProgress, Feed


class Flow:
    """Looks at a feed from time to time."""

    def __init__(self, source: Feed, progress: ByteProgress) -> None:
        self._source = source
        self._progress = progress
        self._told_bytes = 0
        self._moved_at = time.monotonic()

    def still_s(self) -> float:
        """Tell what has moved since the last look; for how long nothing has."""
        taken = self._source.taken_bytes()
        if taken > self._told_bytes:
            self._progress(taken - self._told_bytes)
            self._told_bytes = taken
            self._moved_at = time.monotonic()
        return time.monotonic() - self._moved_at
