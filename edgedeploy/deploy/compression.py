"""Compression in flight, by gzip: every device can undo it. Used only where samples of the file and of the link say it pays."""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from edgedeploy.deploy.feed import file_feed

LEAST_FILE_BYTES = 16 << 20
PROBE_BYTES = 4 << 20
"""So much is sent as it is, and timed."""

_LEVEL = 1  # higher ones save 1 to 2 % more of weights, and take three times as long
_GZIP_WINDOW = 31  # zlib's 15, and 16 for gzip's header
_SAMPLES, _SAMPLE_BYTES = 8, 128 << 10
_READ_BYTES = 256 << 10
_LEAST_GAIN = 1.1
_LEAST_SAVED = 0.1  # random weights in fp32 save 7 %
_DEVICE_BYTES_PER_S = 60e6  # what gzip -d writes on a slow board's core


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a few pieces of a file say: compressed size over size, and bytes of the file per second of one core."""

    ratio: float
    bytes_per_s: float

    @property
    def promising(self) -> bool:
        """Whether it is worth timing the link."""
        return self.ratio < 1 - _LEAST_SAVED


def sample(path: Path, size_bytes: int) -> Sample:
    """Compress a MiB of a file, taken from all over it."""
    pieces = []
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, (size_bytes - _SAMPLE_BYTES) * number // (_SAMPLES - 1)))
            pieces.append(file.read(_SAMPLE_BYTES))
    began = time.perf_counter()
    packed = sum(len(zlib.compress(piece, _LEVEL)) for piece in pieces)
    total = sum(map(len, pieces))
    return Sample(ratio=packed / max(1, total), bytes_per_s=total / max(1e-9, time.perf_counter() - began))


def pays(of_file: Sample, link_bytes_per_s: float) -> bool:
    """Whether a file gets there sooner compressed: the slowest of compressing, sending and undoing it, against sending alone."""
    compressed = min(of_file.bytes_per_s, link_bytes_per_s / of_file.ratio, _DEVICE_BYTES_PER_S)
    return of_file.promising and compressed > _LEAST_GAIN * link_bytes_per_s


class PipeFeed:
    """A part of a file as a pipe, compressed by gzip or as it is.

    ``taken_bytes`` are of the file; ``wire_bytes`` of what goes out.
    """

    def __init__(self, file: int, size_bytes: int, *, compressed: bool) -> None:
        self._file = file
        self._left_bytes = size_bytes
        self._packer = zlib.compressobj(_LEVEL, wbits=_GZIP_WINDOW) if compressed else None
        self._taken_bytes = 0
        self.wire_bytes = 0
        self._out, self._in = os.pipe()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """The end of the pipe to read from."""
        return self._out

    def taken_bytes(self) -> int:
        """How many bytes of the file have gone in."""
        return self._taken_bytes

    def close(self) -> None:
        """End it, wherever it is."""
        os.close(self._out)
        self._thread.join()

    def _fill(self) -> None:
        # The reader has ended, and says why; or the file cannot be read, and what arrived has another digest.
        with suppress(OSError):
            while self._left_bytes and (piece := os.read(self._file, min(_READ_BYTES, self._left_bytes))):
                self._write(self._packer.compress(piece) if self._packer else piece)
                self._taken_bytes += len(piece)
                self._left_bytes -= len(piece)
            self._write(self._packer.flush() if self._packer else b"")
        os.close(self._in)

    def _write(self, packed: bytes) -> None:
        view = memoryview(packed)
        while view:
            view = view[os.write(self._in, view) :]
        self.wire_bytes += len(packed)


@contextmanager
def pipe_feed(path: Path, *, offset: int, size_bytes: int, compressed: bool) -> Iterator[PipeFeed]:
    """Open ``path`` and feed ``size_bytes`` of it from ``offset`` on.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
    with file_feed(path, offset=offset) as source:
        feed = PipeFeed(source.fileno(), size_bytes, compressed=compressed)
        try:
            yield feed
        finally:
            feed.close()
