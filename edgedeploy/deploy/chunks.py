"""Files cut into chunks where their own content says so: what only moved within a file is cut at the same places again.

A cut lies before every eight bytes that, with the eight after them, hash to a number whose first 13 bits are zero; chunks have
16 to 256 KiB. Places are multiples of eight bytes, as everything is aligned in the files of all three formats.
``edgedeploy-device chunks`` does the same on a device. Why not a library: docs/adr/0008-delta.md.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:  # most pushes cut nothing, and would wait for NumPy
    import numpy as np
    import numpy.typing as npt

_STEP_BYTES = 8
_LEAST_BYTES = 1 << 14
_MOST_BYTES = 1 << 18
_ZERO_BITS = 13
_DIGEST_BYTES = 12
_ENTRY = struct.Struct(f"<I{_DIGEST_BYTES}s")
# Odd constants without structure: 2^64 over the golden ratio, and xxHash's second prime.
_FIRST_FACTOR = 0x9E3779B97F4A7C15
_SECOND_FACTOR = 0xC2B2AE3D27D4EB4F
_BLOCK_BYTES = 1 << 20


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a file: its place, and the first 96 bits of its SHA-256. What is built of chunks is hashed as a whole."""

    offset: int
    size_bytes: int
    digest: bytes


def chunks_of(path: Path) -> tuple[Chunk, ...]:
    """Cut a file, of which a megabyte at a time is in memory; takes about a second per 1 GB."""
    piece = memoryview(bytearray(_MOST_BYTES))
    with path.open("rb", buffering=0) as file:
        return tuple(
            Chunk(offset, length, hashlib.sha256(_read(file, offset, piece[:length])).digest()[:_DIGEST_BYTES])
            for offset, length in _cut(file, path.stat().st_size)
        )


def pack(chunks: tuple[Chunk, ...]) -> bytes:
    """16 bytes per chunk, in order, as the device helper prints them."""
    return b"".join(_ENTRY.pack(chunk.size_bytes, chunk.digest) for chunk in chunks)


def unpack(packed: bytes) -> tuple[Chunk, ...]:
    """The chunks that :func:`pack` or the device helper wrote down; what is cut off at the end is left out."""
    whole = len(packed) // _ENTRY.size * _ENTRY.size
    offset = 0
    chunks = []
    for size_bytes, digest in _ENTRY.iter_unpack(packed[:whole]):
        chunks.append(Chunk(offset, size_bytes, digest))
        offset += size_bytes
    return tuple(chunks)


def _cut(file: io.FileIO, size_bytes: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of each chunk."""
    start = 0
    for known_until, possible in _possible_cuts(file, size_bytes):
        while start < known_until:
            next_cut = int(possible.searchsorted(start + _LEAST_BYTES))
            end = min(start + _MOST_BYTES, size_bytes)
            if next_cut < len(possible):
                end = min(end, int(possible[next_cut]))
            elif end > known_until:
                break
            yield start, end - start
            start = end


def _possible_cuts(file: io.FileIO, size_bytes: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Block by block: where it ends, and the offsets in it at which the content says so, ascending."""
    import numpy as np

    first_factor, second_factor = np.uint64(_FIRST_FACTOR), np.uint64(_SECOND_FACTOR)
    buffer = memoryview(bytearray(_BLOCK_BYTES + _STEP_BYTES))
    for start in range(0, size_bytes, _BLOCK_BYTES):
        block = _read(file, start, buffer)
        words: npt.NDArray[np.uint64] = np.frombuffer(block[: len(block) // _STEP_BYTES * _STEP_BYTES], dtype="<u8")
        hashed: npt.NDArray[np.uint64] = words[:-1] * first_factor + words[1:] * second_factor
        yield (
            min(start + _BLOCK_BYTES, size_bytes),
            np.flatnonzero(hashed >> np.uint64(64 - _ZERO_BITS) == 0) * _STEP_BYTES + start,
        )


def _read(file: io.FileIO, offset: int, into: memoryview) -> memoryview:
    """As much of ``into`` as the file has content for from ``offset`` on."""
    file.seek(offset)
    got = 0
    while got < len(into) and (count := file.readinto(into[got:])):
        got += count
    return into[:got]
