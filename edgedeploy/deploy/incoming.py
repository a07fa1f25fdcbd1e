"""Files on their way in: resumed where a cut left them, verified on the device before they count.

What arrives is written to its own place in ``incoming/<sha256>.part``, not appended: a command of a connection that was lost
may go on writing for a while, and what it writes then is what is there or will be there anyway.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from edgedeploy.deploy.device_shell import DIGEST, DeviceShell, hashing_limit_s
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.deploy.feed import file_feed
from edgedeploy.domain.release import LocalFile
from edgedeploy.errors import DeviceRunError, UsageError
from edgedeploy.ports import ByteProgress

BLOCK_BYTES = 1 << 20  # what dd writes at once, and the most that a resumed transfer sends twice
_QUIET_S = 60.0
_WRONG_DIGEST = 9
_RECEIVE = (
    DIGEST
    + """
tool=$5; cd "$1" || exit 1
part=incoming/$2.part
# A new file, unless we go on with one: then nothing else writes into it.
[ "$3" -gt 0 ] || rm -rf "$part"
if [ -n "$tool" ]; then
  sum=$("$tool" receive "$part" "$(($3 * 1048576))" --size "$4") || exit 1
  sum=${sum%% *}
else
  dd of="$part" bs=1048576 seek="$3" conv=notrunc || exit 1
  sum=$(digest "$part")
fi
if [ "$sum" != "$2" ]; then rm -f "$part"; echo "$sum"; exit 9; fi
rm -rf "$6/$2"  # a damaged one, or something that is none
chmod 555 "$part" && mv -f "$part" "$6/$2"
"""
)
_PREFIX = """
cd "$1/incoming" || exit 1
if [ -n "$4" ]; then echo "0 $(($3 * 1048576))" | "$4" ranges "$2.part"
elif command -v sha256sum >/dev/null 2>&1; then dd if="$2.part" bs=1048576 count="$3" 2>/dev/null | sha256sum
else dd if="$2.part" bs=1048576 count="$3" 2>/dev/null | shasum -a 256; fi
"""


def receive(
    shell: DeviceShell,
    root: str,
    tool: str,
    file: LocalFile,
    *,
    part_bytes: int,
    progress: ByteProgress,
    place: Literal["blobs", "tools"] = "blobs",
) -> int:
    """Send one file, have the device verify it, and only then give it its name.

    ``part_bytes`` of it lie there already, as far as their number says. A file that arrives damaged is sent once more, whole.
    ``tool`` is the device helper's path there; empty where there is none.

    Returns:
        From which byte on it was sent.

    Raises:
        DeviceStorageError: no space, not writable.
        DeviceRunError: what arrived has another digest, twice.
        UsageError: the file changed on this machine since its digest was taken.
    """
    offset = _good_prefix_bytes(shell, root, tool, file, part_bytes)
    for attempt_offset in (offset, 0):
        arrived = _send(shell, root, tool, file, attempt_offset, place, progress)
        if arrived == file.entry.sha256:
            return attempt_offset
        if file_sha256(Path(file.local)) != file.entry.sha256:
            raise UsageError(
                "a file on this machine is not what it was",
                where=file.local,
                seen=f"its sha256 is no longer {file.entry.sha256}",
                next_step="remove it and push again: it is exported or built anew",
            )
    raise DeviceRunError(
        f"{file.entry.path} arrived damaged, twice",
        where=f"device {shell.device}: {root}/incoming",
        seen=f"sha256 {arrived}, sent {file.entry.sha256}",
        next_step="check the cable or the card, and push again",
    )


def _send(shell: DeviceShell, root: str, tool: str, file: LocalFile, offset: int, place: str, progress: ByteProgress) -> str:
    """The digest of what arrived."""
    sha, size_bytes = file.entry.sha256, file.entry.size_bytes
    with file_feed(Path(file.local), offset=offset) as source:
        done = shell.pour(
            _RECEIVE,
            root,
            sha,
            str(offset // BLOCK_BYTES),
            str(size_bytes),
            tool,
            place,
            source=source,
            quiet_s=_QUIET_S + hashing_limit_s(size_bytes),
            progress=progress,
            expected=(_WRONG_DIGEST,),
        )
    return done.stdout.decode(errors="replace").strip() if done.exit_code == _WRONG_DIGEST else sha


def _good_prefix_bytes(shell: DeviceShell, root: str, tool: str, file: LocalFile, part_bytes: int) -> int:
    """How much of a part file is this file's beginning, in whole blocks.

    All of it, if the link was cut. When the device lost power, its end may never have reached the storage: less and less of
    it is tried, four times as much left out each time.
    """
    blocks = min(part_bytes, file.entry.size_bytes) // BLOCK_BYTES
    left_out = 1
    while blocks > 0:
        size_bytes = blocks * BLOCK_BYTES
        done = shell.run(_PREFIX, root, file.entry.sha256, str(blocks), tool, timeout_s=hashing_limit_s(size_bytes))
        if done.stdout.decode(errors="replace").split()[:1] == [_prefix_sha256(Path(file.local), size_bytes)]:
            return size_bytes
        blocks -= left_out
        left_out *= 4
    return 0


def _prefix_sha256(path: Path, size_bytes: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while size_bytes > 0 and (chunk := source.read(min(size_bytes, BLOCK_BYTES))):
            digest.update(chunk)
            size_bytes -= len(chunk)
    return digest.hexdigest()
