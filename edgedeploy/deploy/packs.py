"""Small files on their way in, many by one command: as a tar archive, verified file by file on the device.

One command per file takes 30 ms, whatever is in it: two thousand files of a few KB took a minute.
"""

from __future__ import annotations

import io
import secrets
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from edgedeploy.deploy.device_shell import ANY_FAILURE, DeviceShell, hashing_limit_s
from edgedeploy.deploy.feed import FileFeed
from edgedeploy.domain.release import LocalFile
from edgedeploy.errors import UsageError
from edgedeploy.ports import ByteProgress

_SMALL_BYTES = 256 << 10
_LEAST_FILES = 4
_PACK_BYTES = 1 << 20  # of an archive: when the link is cut, so much is sent again at most
_QUIET_S = 60.0
# What is good gets its name; the caller sends the rest one by one, and hears then what is wrong with it.
_UNPACK = """
cd "$1" || exit 1
pack=incoming/$2.pack; tool=$3
mkdir "$pack" || exit 1
if tar -xf - -C "$pack"; then
  cd "$pack" || exit 1
  good=$(
    if [ -n "$tool" ]; then ls | "$tool" hash
    elif command -v sha256sum >/dev/null 2>&1; then sha256sum ./*
    else shasum -a 256 ./*; fi |
      while read -r sum rest; do [ "$sum" != "${rest##*[ /]}" ] || echo "$sum"; done
  )
  for name in $good; do [ -f "../../blobs/$name" ] || rm -rf "../../blobs/$name"; done
  [ -z "$good" ] || { chmod 555 $good && mv -f $good ../../blobs && echo "$good"; }
  cd ../..
fi
rm -rf "$pack"
"""


def packs(files: Iterable[LocalFile]) -> Iterator[list[LocalFile]]:
    """The small ones of ``files``, in groups that are sent as one; too few are left out."""
    group: list[LocalFile] = []
    size_bytes = 0
    for file in files:
        if file.entry.size_bytes > _SMALL_BYTES:
            continue
        added_bytes = file.entry.size_bytes + 2 * tarfile.BLOCKSIZE  # a header, and filled up to a block
        if size_bytes + added_bytes > _PACK_BYTES:
            yield group
            group, size_bytes = [], 0
        group.append(file)
        size_bytes += added_bytes
    if len(group) >= _LEAST_FILES:
        yield group


def send_pack(shell: DeviceShell, root: str, tool: str, files: Sequence[LocalFile], *, progress: ByteProgress) -> frozenset[str]:
    """Send these in one go; the SHA-256 of those that are in the store now.

    Raises:
        UsageError: one of them cannot be read.
    """
    with tempfile.TemporaryFile() as archive:
        _write(archive, files)
        size_bytes = archive.tell()
        archive.seek(0)
        done = shell.pour(
            _UNPACK,
            root,
            secrets.token_hex(8),
            tool,
            source=FileFeed(archive.fileno(), 0),
            quiet_s=_QUIET_S + hashing_limit_s(size_bytes, files=len(files)),
            progress=progress,
            expected=ANY_FAILURE,
        )
    return frozenset(done.stdout.decode(errors="replace").split()) & {file.entry.sha256 for file in files}


def _write(archive: IO[bytes], files: Sequence[LocalFile]) -> None:
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in files:
            try:
                content = Path(file.local).read_bytes()
            except OSError as exc:
                raise UsageError(f"cannot send {file.local}", seen=exc.strerror or str(exc)) from exc
            member = tarfile.TarInfo(file.entry.sha256)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    archive.flush()
