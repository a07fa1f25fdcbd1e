"""A new version of a file from pieces of files that the device has: only what is in none of them is sent."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.deploy.chunks import Chunk
from edgedeploy.deploy.device_shell import ANY_FAILURE, DIGEST, DeviceShell, hashing_limit_s
from edgedeploy.domain.release import FileEntry, LocalFile

LEAST_FILE_BYTES = 4 << 20
"""Below it, the round trips cost more than the bytes."""

MOST_RANGES_BY_SHELL = 2000
"""Each is a program to start, 2 to 10 ms."""

_LEAST_SAVED = 0.1
_WRONG_DIGEST = 9
_COPY_BYTES = 1 << 20
_ASSEMBLE = (
    DIGEST
    + """
tool=$3; cd "$1" || exit 1
whole=incoming/$2.whole; rm -rf "$whole"
if [ -n "$tool" ]; then
  sum=$("$tool" assemble "$whole")
  case $? in 0) sum=${sum%% *} ;; 2) sum=gone ;; *) exit 1 ;; esac
else
  take() { dd if="$3" bs=1048576 iflag=skip_bytes,count_bytes skip="$1" count="$2" 2>/dev/null; }
  # macOS and old busybox have no such flags.
  [ "$(echo abcd | dd bs=2 iflag=skip_bytes,count_bytes skip=1 count=2 2>/dev/null)" = bc ] ||
    take() { tail -c "+$(($1 + 1))" "$3" | head -c "$2"; }
  while read -r offset length path; do take "$offset" "$length" "$path" || break; done > "$whole"
  sum=$(digest "$whole")
fi
if [ "$sum" != "$2" ]; then rm -f "$whole"; echo "$sum"; exit 9; fi
[ -f "blobs/$2" ] || rm -rf "blobs/$2"
chmod 555 "$whole" && mv -f "$whole" "blobs/$2" && rm -f "incoming/$2.part"
"""
)
_CHUNKS = 'cd "$1" && "$2" chunks "blobs/$3"'


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a blob on the device by its SHA-256; or, with an empty ``source``, of the new file itself."""

    source: str
    offset: int
    size_bytes: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is put together, in order; how much of it has to be sent, and how many chunks have not."""

    ranges: tuple[Range, ...]
    literal_bytes: int
    chunks_reused: int

    def pays(self, to_send_bytes: int, *, by_shell: bool) -> bool:
        """Whether it is better than sending ``to_send_bytes`` of the file."""
        if by_shell and len(self.ranges) > MOST_RANGES_BY_SHELL:
            return False
        return self.literal_bytes < (1 - _LEAST_SAVED) * to_send_bytes

    @property
    def sources(self) -> frozenset[str]:
        """The blobs it takes from."""
        return frozenset(part.source for part in self.ranges if part.source)


def plan(new: Sequence[Chunk], known: Mapping[str, Sequence[Chunk]]) -> Plan:
    """Find the chunks of a new file among those of blobs on the device, by their SHA-256.

    Where several have a chunk, the one is taken that goes on what was taken before: few and long ranges.
    """
    places: dict[bytes, tuple[str, int]] = {}
    at: dict[tuple[str, int], bytes] = {}
    for sha, chunks in known.items():
        for chunk in chunks:
            places.setdefault(chunk.digest, (sha, chunk.offset))
            at[sha, chunk.offset] = chunk.digest
    ranges: list[Range] = []
    reused = 0
    for chunk in new:
        end = (ranges[-1].source, ranges[-1].offset + ranges[-1].size_bytes) if ranges else ("", -1)
        source, offset = end if at.get(end) == chunk.digest else places.get(chunk.digest, ("", chunk.offset))
        reused += bool(source)
        if (source, offset) == end:
            ranges[-1] = msgspec.structs.replace(ranges[-1], size_bytes=ranges[-1].size_bytes + chunk.size_bytes)
        else:
            ranges.append(Range(source=source, offset=offset, size_bytes=chunk.size_bytes))
    literal = sum(part.size_bytes for part in ranges if not part.source)
    return Plan(ranges=tuple(ranges), literal_bytes=literal, chunks_reused=reused)


@contextmanager
def literals(file: LocalFile, made: Plan) -> Iterator[LocalFile | None]:
    """What has to be sent, as a file of its own in a temporary folder; None where nothing has."""
    if not made.literal_bytes:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
        path = Path(folder, "changes")
        digest = hashlib.sha256()
        with Path(file.local).open("rb") as source, path.open("wb") as sink:
            for part in made.ranges:
                if not part.source:
                    source.seek(part.offset)
                    for piece in _pieces(part.size_bytes):
                        content = source.read(piece)
                        digest.update(content)
                        sink.write(content)
        entry = FileEntry(path=f"{file.entry.path} (what changed)", sha256=digest.hexdigest(), size_bytes=made.literal_bytes)
        yield LocalFile(local=str(path), entry=entry)


def recipe(made: Plan, literal: LocalFile | None) -> bytes:
    """A line per range: offset, length, and the file on the device, from the store's root."""
    lines = []
    sent = 0
    for part in made.ranges:
        if part.source:
            lines.append(f"{part.offset} {part.size_bytes} blobs/{part.source}\n")
        elif literal is not None:
            lines.append(f"{sent} {part.size_bytes} blobs/{literal.entry.sha256}\n")
            sent += part.size_bytes
    return "".join(lines).encode()


def assemble(shell: DeviceShell, root: str, tool: str, file: LocalFile, lines: bytes) -> bool:
    """Put a file together on the device and verify it; False if it came out wrong, because a piece is not what it was."""
    limit_s = hashing_limit_s(2 * file.entry.size_bytes)
    done = shell.run(_ASSEMBLE, root, file.entry.sha256, tool, stdin=lines, timeout_s=limit_s, expected=(_WRONG_DIGEST,))
    return done.exit_code == 0


def chunks_on_device(shell: DeviceShell, root: str, tool: str, sha: str, size_bytes: int) -> bytes:
    """A blob of the device, cut there by the device helper; as :func:`edgedeploy.deploy.chunks.unpack` reads it.

    As much as it could read: nothing where the blob is gone.
    """
    return shell.run(_CHUNKS, root, tool, sha, timeout_s=hashing_limit_s(size_bytes), expected=ANY_FAILURE).stdout


def _pieces(size_bytes: int) -> Iterator[int]:
    while size_bytes > 0:
        yield min(size_bytes, _COPY_BYTES)
        size_bytes -= _COPY_BYTES
