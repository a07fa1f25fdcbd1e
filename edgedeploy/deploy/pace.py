"""How fast a device gets a file whole, and from changes: measured with every large file, remembered on this machine.

On a slow link changes are always sooner there. On a fast one they may not be: the device cuts, copies and hashes a whole file
to save bytes that would have been there in less. What was not measured yet speaks against nothing: changes are tried.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

LEAST_FILE_BYTES = 16 << 20
"""Below it, round trips would be measured."""

_GOOD_FOR_S = 7 * 24 * 3600  # then changes are tried anew


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a file per second: sent whole, as last measured, and put together from changes, at best; 0: not known.

    At best, as a device that was busy when it was measured would not be asked again. What is sent of changes does not count.
    ``changes_since`` is when the latter was measured first, in seconds since 1970.
    """

    whole_bytes_per_s: float = 0
    changes_bytes_per_s: float = 0
    changes_since: float = 0

    @property
    def whole_is_sooner(self) -> bool:
        """Whether a whole file gets there before its changes would be put together."""
        return 0 < self.changes_bytes_per_s < self.whole_bytes_per_s


class Pace:
    """The rates of one device, kept in ``file``; nowhere if that is None."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.rates = self._read()

    def sent_whole(self, size_bytes: int, seconds: float) -> None:
        """A file went there as it is."""
        if size_bytes >= LEAST_FILE_BYTES:
            self._keep(msgspec.structs.replace(self.rates, whole_bytes_per_s=size_bytes / max(seconds, 1e-9)))

    def put_together(self, size_bytes: int, seconds: float) -> None:
        """A file was made of changes; ``seconds`` are without those that sending them took."""
        if size_bytes >= LEAST_FILE_BYTES:
            best = max(self.rates.changes_bytes_per_s, size_bytes / max(seconds, 1e-9))
            since = self.rates.changes_since or time.time()
            self._keep(msgspec.structs.replace(self.rates, changes_bytes_per_s=best, changes_since=since))

    def _read(self) -> Rates:
        try:
            rates = msgspec.json.decode(self._file.read_bytes(), type=Rates) if self._file is not None else Rates()
        except (OSError, msgspec.DecodeError):  # nothing was measured yet
            return Rates()
        if time.time() - rates.changes_since < _GOOD_FOR_S:
            return rates
        return Rates(whole_bytes_per_s=rates.whole_bytes_per_s)

    def _keep(self, rates: Rates) -> None:
        self.rates = rates
        if self._file is None:
            return
        part = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(rates))
            part.replace(self._file)
        except OSError:  # it is measured again the next time
            with suppress(OSError):
                part.unlink()
