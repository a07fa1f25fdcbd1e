"""What files consist of, chunk by chunk: remembered on this machine, asked of the device where it is not known here."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from edgedeploy.deploy.chunks import Chunk, chunks_of, pack, unpack
from edgedeploy.deploy.inventory import Inventory
from edgedeploy.domain.release import LocalFile

_LEAST_BLOB_BYTES = 1 << 20
_MOST_ASKED = 3


class ChunkMaps:
    """Keeps maps by SHA-256 in ``folder`` (16 bytes per 64 KiB of a file); nowhere if that is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def of_file(self, file: LocalFile) -> tuple[Chunk, ...]:
        """Of a file of this machine."""
        known = self._read(file.entry.sha256)
        if known is not None and sum(chunk.size_bytes for chunk in known) == file.entry.size_bytes:
            return known  # and not what was half written when the power went
        chunks = chunks_of(Path(file.local))
        self._write(file.entry.sha256, pack(chunks))
        return chunks

    def of_both(
        self, file: LocalFile, seen: Inventory, ask: Callable[[str], bytes] | None
    ) -> tuple[tuple[Chunk, ...], dict[str, tuple[Chunk, ...]]]:
        """Of a new file, and of the blobs on a device that it may have pieces of; nothing where none is known.

        All that are known here; and by ``ask`` a few more, the likeliest first: what has the same path in the current release,
        then what is nearest in size. The device cuts them while this machine cuts the file.
        """
        wanted = file.entry
        same = {entry.sha256 for entry in seen.manifest.files if entry.path == wanted.path} if seen.manifest else set()
        large = [sha for sha, size in seen.blobs.items() if size >= _LEAST_BLOB_BYTES and sha != wanted.sha256]
        large.sort(key=lambda sha: (sha not in same, abs(seen.blobs[sha] - wanted.size_bytes)))
        known = {sha: self._read(sha) for sha in large}
        found = {sha: chunks for sha, chunks in known.items() if chunks}
        unknown = [sha for sha in large if sha not in found][:_MOST_ASKED]
        if ask is None or not unknown:
            return (self.of_file(file) if found else ()), found
        with ThreadPoolExecutor(1) as pool:
            own = pool.submit(self.of_file, file)
            for sha in unknown:
                packed = ask(sha)
                if chunks := unpack(packed):
                    found[sha] = chunks
                if sum(chunk.size_bytes for chunk in chunks) == seen.blobs[sha]:
                    self._write(sha, packed)
            return own.result(), found

    def _read(self, sha: str) -> tuple[Chunk, ...] | None:
        if self._folder is None:
            return None
        try:
            return unpack((self._folder / sha).read_bytes())
        except OSError:
            return None

    def _write(self, sha: str, packed: bytes) -> None:
        if self._folder is None:
            return
        part = self._folder / f".{sha}.{os.getpid()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(packed)
            part.replace(self._folder / sha)
        except OSError:  # it is counted again the next time
            with suppress(OSError):
                part.unlink()
