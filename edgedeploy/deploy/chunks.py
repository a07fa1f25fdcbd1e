"""Files cut into chunks where their own content says so: what only moved within a file is cut at the same places again.

A cut lies before every eight bytes that, with the eight after them, hash to a number whose first 13 bits are zero; chunks have
16 to 256 KiB. Places are multiples of eight bytes, as everything is aligned in the files of all three formats.
``edgedeploy-device chunks`` does the same on a device. Why not a library: docs/adr/0008-delta.md.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

_STEP_BYTES = 8
_LEAST_BYTES = 1 << 14
_MOST_BYTES = 1 << 18
_ZERO_BITS = 13
_DIGEST_BYTES = 12
_ENTRY = struct.Struct(f"<I{_DIGEST_BYTES}s")
# Odd constants without structure: 2^64 over the golden ratio, and xxHash's second prime.
_FIRST_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SECOND_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)
_BLOCK_BYTES = 1 << 20


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a file: its place, and the first 96 bits of its SHA-256. What is built of chunks is hashed as a whole."""

    offset: int
    size_bytes: int
    digest: bytes


def chunks_of(path: Path) -> tuple[Chunk, ...]:
    """Cut a file; takes about a second per 1 GB."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        return ()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
        return tuple(
            Chunk(offset, length, hashlib.sha256(view[offset : offset + length]).digest()[:_DIGEST_BYTES])
            for offset, length in _cut(_possible_cuts(view), size_bytes)
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


def _possible_cuts(view: memoryview) -> npt.NDArray[np.int64]:
    """Offsets at which the content says so, in bytes, ascending."""
    found = []
    for start in range(0, len(view), _BLOCK_BYTES):
        block = view[start : start + _BLOCK_BYTES + _STEP_BYTES]
        words: npt.NDArray[np.uint64] = np.frombuffer(block[: len(block) // _STEP_BYTES * _STEP_BYTES], dtype="<u8")
        if len(words) > 1:
            hashed: npt.NDArray[np.uint64] = words[:-1] * _FIRST_FACTOR + words[1:] * _SECOND_FACTOR
            found.append(np.flatnonzero(hashed >> np.uint64(64 - _ZERO_BITS) == 0) * _STEP_BYTES + start)
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _cut(possible: npt.NDArray[np.int64], size_bytes: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of each chunk."""
    start = 0
    while start < size_bytes:
        end = min(start + _MOST_BYTES, size_bytes)
        if size_bytes - start > _LEAST_BYTES:
            next_cut = int(np.searchsorted(possible, start + _LEAST_BYTES))
            if next_cut < len(possible):
                end = min(end, int(possible[next_cut]))
        yield start, end - start
        start = end
