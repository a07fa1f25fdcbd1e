"""Files on their way in: resumed where a cut left them, verified on the device before they count.

What arrives is written to its own place in ``incoming/<sha256>.part``, not appended: a command of a connection that was lost
may go on writing for a while, and what it writes then is what is there or will be there anyway.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgedeploy.deploy import compression
from edgedeploy.deploy.compression import pipe_feed
from edgedeploy.deploy.device_shell import DIGEST, DeviceShell, hashing_limit_s
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.deploy.feed import file_feed
from edgedeploy.domain.release import LocalFile
from edgedeploy.errors import DeviceRunError, UsageError
from edgedeploy.ports import ByteProgress, Feed

BLOCK_BYTES = 1 << 20  # what dd writes at once, and the most that a resumed transfer sends twice
_QUIET_S = 60.0
_WRONG_DIGEST = 9
_WRITE = """
cd "$1" || exit 1
part=incoming/$2.part; tool=$4
# A new file, unless we go on with one: then nothing else writes into it.
[ "$3" -gt 0 ] || rm -rf "$part"
"""
# Only written: the beginning of a file, while the link is timed.
_BEGIN = _WRITE + 'dd of="$part" bs=1048576 seek="$3" conv=notrunc'
_RECEIVE = (
    DIGEST
    + _WRITE
    + """
if [ -n "$tool" ]; then
  if [ "$7" = gzip ]; then sum=$(gzip -dc | "$tool" receive "$part" "$(($3 * 1048576))" --size "$6") || exit 1
  else sum=$("$tool" receive "$part" "$(($3 * 1048576))" --size "$6") || exit 1; fi
  sum=${sum%% *}
else
  if [ "$7" = gzip ]; then gzip -dc | dd of="$part" bs=1048576 seek="$3" conv=notrunc || exit 1
  else dd of="$part" bs=1048576 seek="$3" conv=notrunc || exit 1; fi
  sum=$(digest "$part")
fi
if [ "$sum" != "$2" ]; then rm -f "$part"; echo "$sum"; exit 9; fi
[ -f "$5/$2" ] || rm -rf "$5/$2"  # a file that is damaged is replaced, so that no release lacks it meanwhile
chmod 555 "$part" && mv -f "$part" "$5/$2"
"""
)
_PREFIX = """
cd "$1/incoming" || exit 1
if [ -n "$4" ]; then echo "0 $(($3 * 1048576))" | "$4" ranges "$2.part"
elif command -v sha256sum >/dev/null 2>&1; then dd if="$2.part" bs=1048576 count="$3" 2>/dev/null | sha256sum
else dd if="$2.part" bs=1048576 count="$3" 2>/dev/null | shasum -a 256; fi
"""


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """Sends files into the store at ``root``. ``tool`` is the device helper's path there; empty where there is none."""

    shell: DeviceShell
    root: str
    tool: str
    place: Literal["blobs", "tools"] = "blobs"

    def receive(self, file: LocalFile, *, part_bytes: int, progress: ByteProgress, saved: ByteProgress) -> int:
        """Send one file, have the device verify it, and only then give it its name; from which byte on it was sent.

        ``part_bytes`` of it lie there already, as far as their number says. ``progress`` gets bytes of the file; ``saved`` how
        many of those compression kept off the link, of a transfer that is cut too. A file that arrives damaged is sent once more,
        whole.

        Raises:
            DeviceStorageError: no space, not writable.
            DeviceRunError: what arrived has another digest, twice.
            UsageError: the file changed on this machine since its digest was taken.
        """
        offset = self._good_prefix_bytes(file, part_bytes)
        for resumed_from in (offset, 0):
            digest = self._send(file, resumed_from, progress, saved)
            if digest == file.entry.sha256:
                return resumed_from
            _require_unchanged(file)
        raise DeviceRunError(
            f"{file.entry.path} arrived damaged, twice",
            where=f"device {self.shell.device}: {self.root}/incoming",
            seen=f"sha256 {digest}, sent {file.entry.sha256}",
            next_step="check the cable or the card, and push again",
        )

    def _send(self, file: LocalFile, offset: int, progress: ByteProgress, saved: ByteProgress) -> str:
        """The digest of what arrived."""
        path, size_bytes = Path(file.local), file.entry.size_bytes
        if size_bytes - offset >= compression.LEAST_FILE_BYTES:
            looked = compression.sample(path, size_bytes)
            if looked.promising:
                rate = self._timed_beginning(file, offset, progress)
                offset += compression.PROBE_BYTES
                if compression.pays(looked, rate):
                    return self._send_compressed(file, offset, progress, saved)
        with file_feed(path, offset=offset) as source:
            return self._pour(file, offset, source, progress, packing="")

    def _send_compressed(self, file: LocalFile, offset: int, progress: ByteProgress, saved: ByteProgress) -> str:
        told_bytes = 0

        def moved(count: int) -> None:
            nonlocal told_bytes
            told_bytes += count
            progress(count)

        size_bytes = file.entry.size_bytes - offset
        with pipe_feed(Path(file.local), offset=offset, size_bytes=size_bytes, compressed=True) as packed:
            try:
                return self._pour(file, offset, packed, moved, packing="gzip")
            finally:
                saved(told_bytes - packed.wire_bytes)

    def _timed_beginning(self, file: LocalFile, offset: int, progress: ByteProgress) -> float:
        """Send some of it as it is; how many bytes per second came to rest on the device."""
        began = time.monotonic()
        with pipe_feed(Path(file.local), offset=offset, size_bytes=compression.PROBE_BYTES, compressed=False) as source:
            arguments = (self.root, file.entry.sha256, str(offset // BLOCK_BYTES), self.tool)
            self.shell.pour(_BEGIN, *arguments, source=source, quiet_s=_QUIET_S, progress=progress)
        return compression.PROBE_BYTES / (time.monotonic() - began)

    def _pour(self, file: LocalFile, offset: int, source: Feed, progress: ByteProgress, *, packing: str) -> str:
        sha, size_bytes = file.entry.sha256, file.entry.size_bytes
        done = self.shell.pour(
            _RECEIVE,
            self.root,
            sha,
            str(offset // BLOCK_BYTES),
            self.tool,
            self.place,
            str(size_bytes),
            packing,
            source=source,
            quiet_s=_QUIET_S + hashing_limit_s(size_bytes),
            progress=progress,
            expected=(_WRONG_DIGEST,),
        )
        return done.stdout.decode(errors="replace").strip() if done.exit_code == _WRONG_DIGEST else sha

    def _good_prefix_bytes(self, file: LocalFile, part_bytes: int) -> int:
        """How much of a part file is this file's beginning, in whole blocks.

        All of it, if the link was cut. When the device lost power, its end may never have reached the storage: less and less
        of it is tried, four times as much left out each time.
        """
        blocks = min(part_bytes, file.entry.size_bytes) // BLOCK_BYTES
        left_out = 1
        while blocks > 0:
            size_bytes = blocks * BLOCK_BYTES
            arguments = (self.root, file.entry.sha256, str(blocks), self.tool)
            done = self.shell.run(_PREFIX, *arguments, timeout_s=hashing_limit_s(size_bytes))
            if done.stdout.decode(errors="replace").split()[:1] == [_prefix_sha256(Path(file.local), size_bytes)]:
                return size_bytes
            blocks -= left_out
            left_out *= 4
        return 0


def _require_unchanged(file: LocalFile) -> None:
    what, seen = "is not what it was", f"its sha256 is no longer {file.entry.sha256}"
    try:
        if file_sha256(Path(file.local)) == file.entry.sha256:
            return
    except OSError as exc:
        what, seen = "cannot be read any more", exc.strerror or str(exc)
    next_step = "remove it and push again: it is exported or built anew"
    raise UsageError(f"a file on this machine {what}", where=file.local, seen=seen, next_step=next_step)


def _prefix_sha256(path: Path, size_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while size_bytes > 0 and (chunk := source.read(min(size_bytes, BLOCK_BYTES))):
            digest.update(chunk)
            size_bytes -= len(chunk)
    return digest.hexdigest()
