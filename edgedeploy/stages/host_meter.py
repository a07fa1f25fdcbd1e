"""A command of the user's on this machine that tells what a meter shows, run again and again while a device works."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from types import TracebackType
from typing import Self

from edgedeploy.probes.meters import Series, parse_reading

_PERIOD_S = 0.5
_LIMIT_S = 10.0


class HostMeter:
    """While inside ``with``, reads the meter twice a second; the readings carry the time at which they came."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._readings: list[tuple[float, float, bool]] = []
        self._complaint = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(timeout=_LIMIT_S + _PERIOD_S)

    def series(self) -> tuple[tuple[Series, ...], str]:
        """What the meter showed; empty with the reason, when the command told neither watts nor joules."""
        if not self._readings:
            return (), f"energy_command: {self._complaint or 'it told nothing in time'}"
        counts = self._readings[-1][2]
        points = tuple((at_s, value) for at_s, value, is_count in self._readings if is_count == counts)
        return (Series(source=self._command, counts=counts, points=points),), ""

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                done = subprocess.run(
                    shlex.split(self._command), stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False
                )
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                self._complaint = str(error)
            else:
                reading = parse_reading(done.stdout.decode(errors="replace"))
                if reading is not None and not done.returncode:
                    self._readings.append((time.monotonic(), *reading))
                else:
                    said = (done.stderr or done.stdout).decode(errors="replace").strip()[:200]
                    self._complaint = f"exit code {done.returncode}, {said!r} tells no watts or joules"
            self._over.wait(_PERIOD_S)
