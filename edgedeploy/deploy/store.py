"""The store on a device: content-addressed blobs, releases made of links into them, one rename that switches.

::

    <workdir>/blobs/<sha256>               complete and verified, read-only
    <workdir>/incoming/<sha256>.<token>.part  being received; no runner ever sees it
    <workdir>/projects/<name>/releases/<n>/…   links into blobs, manifest.json
    <workdir>/projects/<name>/current      -> releases/<n>
    <workdir>/runs/<id>/                   outputs of one run, removed after it

Everything on the device is done by POSIX sh with the tools that Android's toybox has, so that a phone, a board and this machine
go through the same lines. Data reaches the scripts as arguments or on stdin, never as text of the script.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgedeploy.deploy.digest import file_sha256
from edgedeploy.domain.release import FileEntry, LocalFile, Manifest
from edgedeploy.errors import DeviceError, DeviceRunError, DeviceStorageError, UsageError
from edgedeploy.ports import ByteProgress, Completed, Connection

MANIFEST_SCHEMA = "edgedeploy.release/1"
_SHELL_LIMIT_S = 60.0
_HASH_BYTES_PER_S = 4e6  # slower than any board's sha256sum: bounds how long we wait for one
_RESERVE_BYTES = 4 << 20  # manifest, links, outputs of a run
_WRONG_DIGEST, _MOVED = 9, 8  # exit codes of our own scripts
_SAFE_PATH = re.compile(r"(?!/)(?!.*(^|/)\.\.?(/|$))[^\0\n]+")
_STORAGE_TROUBLE = ("No space left", "Read-only file system", "Permission denied", "Disk quota")

_OPEN = """
case $1 in '~') root=$HOME ;; '~/'*) root=$HOME/${1#'~/'} ;; *) root=$1 ;; esac
mkdir -p "$root/blobs" "$root/incoming" "$root/runs" "$root/projects/$2/releases" || exit 1
cd "$root" || exit 1
# What a push that was killed left behind, once it is a day old.
find incoming runs -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {} + 2>/dev/null
pwd -P
df -k . | tail -n 1
if [ -L "projects/$2/current" ]; then
  n=$(readlink "projects/$2/current"); echo "${n##*/}"; cat "projects/$2/current/manifest.json" 2>/dev/null
fi
exit 0
"""
# A blob of another size is a damaged one: it is removed, and counts as missing.
_MISSING = """
cd "$1/blobs" || exit 1
while read -r sha size; do
  if [ -f "$sha" ] && [ "$(wc -c < "$sha")" -eq "$size" ]; then continue; fi
  rm -f "$sha"; echo "$sha"
done
"""
_HASH = """
digest_of() {
  if command -v sha256sum >/dev/null 2>&1; then sum=$(sha256sum < "$1"); else sum=$(shasum -a 256 < "$1"); fi
  echo "${sum%% *}"
}
"""
_DAMAGED = (
    _HASH
    + """
cd "$1/blobs" || exit 1
while read -r sha; do
  if [ -f "$sha" ] && [ "$(digest_of "$sha")" = "$sha" ]; then continue; fi
  rm -f "$sha"; echo "$sha"
done
"""
)
_LINKED = 'cd "$1" || exit 1; while IFS= read -r path; do [ -e "$path" ] || echo "$path"; done'
_ACCEPT = (
    _HASH
    + """
cd "$1" || exit 1
sum=$(digest_of "incoming/$3.part")
if [ "$sum" != "$2" ]; then rm -f "incoming/$3.part"; echo "$sum"; exit 9; fi
chmod 555 "incoming/$3.part" && mv -f "incoming/$3.part" "blobs/$2"
"""
)
# A number belongs to whoever could make its folder; the manifest is written last, the switch is one rename.
_ACTIVATE = """
cd "$1/projects/$2" || exit 1
now=$(readlink current 2>/dev/null); [ "${now##*/}" = "$4" ] || exit 8
n=$(ls releases | grep -E '^[0-9]+$' | sort -n | tail -n 1); n=$((${n:-0} + 1)); tries=0
until mkdir "releases/$n" 2>/dev/null; do
  n=$((n + 1)); tries=$((tries + 1)); [ "$tries" -lt 100 ] || { mkdir "releases/$n"; exit 1; }
done
new=releases/$n; i=0
while [ "$i" -lt "$3" ]; do
  IFS= read -r line || exit 1
  sha=${line%% *}; path=${line#* }
  case $path in */*) mkdir -p "$new/${path%/*}" || exit 1 ;; esac
  ln -s "$1/blobs/$sha" "$new/$path" || exit 1
  i=$((i + 1))
done
cat > "$new/manifest.json" || exit 1
ln -s "releases/$n" "current.$n" || exit 1
case $(uname) in Darwin) mv -fh "current.$n" current ;; *) mv -fT "current.$n" current ;; esac || exit 1
echo "$n"
"""


@dataclass(frozen=True, kw_only=True)
class StoreState:
    """What was found when the store was opened. ``root`` is absolute on the device; ``release`` 0 means none yet."""

    root: str
    free_bytes: int
    release: int
    manifest: Manifest | None


class ReleaseMovedError(DeviceRunError):
    """The current release is not the one that was there when the store was opened."""


class Store:
    """The store of one project on one device, over an open connection."""

    def __init__(self, connection: Connection, *, device: str, workdir: str, project: str) -> None:
        self._connection = connection
        self._device = device
        self._project = project
        self._workdir = workdir
        self.state = self._open(workdir)

    @property
    def root(self) -> str:
        """The store's folder, absolute, on the device."""
        return self.state.root

    def release_dir(self, release: int) -> str:
        """The folder of a release on the device."""
        return f"{self.root}/projects/{self._project}/releases/{release}"

    def missing(self, entries: tuple[FileEntry, ...]) -> frozenset[str]:
        """SHA-256 of those entries that the device has not got yet."""
        wanted = "".join(f"{sha} {size}\n" for sha, size in sorted({(e.sha256, e.size_bytes) for e in entries}))
        return frozenset(self._sh(_MISSING, self.root, stdin=wanted.encode()).decode().split())

    def require_space(self, size_bytes: int) -> None:
        """Refuse before a byte is sent.

        Raises:
            DeviceStorageError: fewer than ``size_bytes`` and a small reserve are free.
        """
        if size_bytes + _RESERVE_BYTES > self.state.free_bytes:
            raise DeviceStorageError(
                f"not enough space: {size_bytes / 1e6:.1f} MB to send, {self.state.free_bytes / 1e6:.1f} MB free",
                where=f"{self._device}: {self.root}",
                next_step=f"free some space on the device, or remove {self.root}/blobs: what is needed is sent again",
            )

    def damaged(self, entries: tuple[FileEntry, ...]) -> frozenset[str]:
        """Hash these blobs on the device, and remove those that are not what their name says; their SHA-256."""
        names = "".join(f"{sha}\n" for sha in sorted({entry.sha256 for entry in entries}))
        limit_s = _SHELL_LIMIT_S + sum(entry.size_bytes for entry in entries) / _HASH_BYTES_PER_S
        done = self._run(_DAMAGED, (self.root,), stdin=names.encode(), timeout_s=limit_s)
        self._check(done)
        return frozenset(done.stdout.decode().split())

    def receive(self, file: LocalFile, *, progress: ByteProgress) -> None:
        """Send one file, have the device verify it, and only then give it its name.

        Raises:
            DeviceStorageError: no space, not writable.
            DeviceRunError: what arrived has another digest.
            UsageError: the file changed on this machine since its digest was taken.
        """
        sha = file.entry.sha256
        part = f"{sha}.{secrets.token_hex(4)}"
        self._connection.send(Path(file.local), f"{self.root}/incoming/{part}.part", progress=progress)
        limit_s = _SHELL_LIMIT_S + file.entry.size_bytes / _HASH_BYTES_PER_S
        done = self._run(_ACCEPT, (self.root, sha, part), timeout_s=limit_s)
        if done.exit_code == _WRONG_DIGEST:
            if file_sha256(Path(file.local)) != sha:
                raise UsageError(
                    "a file on this machine is not what it was",
                    where=file.local,
                    seen=f"its sha256 is no longer {sha}",
                    next_step="remove it and push again: it is exported or built anew",
                )
            raise DeviceRunError(
                f"{file.entry.path} arrived damaged",
                where=f"{self._device}: {self.root}/incoming",
                seen=f"sha256 {done.stdout.decode(errors='replace').strip()}, sent {sha}",
                next_step="push again; if it happens twice, check the cable or the card",
            )
        self._check(done)

    def activate(self, manifest: Manifest) -> int:
        """Make a release of blobs that are all there, and switch to it with one rename; returns its number.

        When the current release is the same already and whole, nothing is done.

        Raises:
            ReleaseMovedError: somebody else switched since the store was opened; open it again and merge.
        """
        for entry in manifest.files:
            if not _SAFE_PATH.fullmatch(entry.path):
                raise DeviceRunError("a path that could leave the release", where=self._device, seen=repr(entry.path))
        if manifest == self.state.manifest and not self._broken_links(manifest):
            return self.state.release
        links = "".join(f"{entry.sha256} {entry.path}\n" for entry in manifest.files)
        expected = str(self.state.release) if self.state.release else ""
        done = self._run(
            _ACTIVATE,
            (self.root, self._project, str(len(manifest.files)), expected),
            stdin=links.encode() + msgspec.json.encode(manifest),
        )
        if done.exit_code == _MOVED:
            raise ReleaseMovedError("another push switched the release meanwhile", where=self._device, next_step="push again")
        self._check(done)
        return int(done.stdout)

    def reopen(self) -> None:
        """Look again at what the device holds."""
        self.state = self._open(self._workdir)

    def _broken_links(self, manifest: Manifest) -> bool:
        paths = "".join(f"{entry.path}\n" for entry in manifest.files)
        return bool(self._sh(_LINKED, self.release_dir(self.state.release), stdin=paths.encode()))

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A folder on the device that may be written, gone afterwards; its absolute path there."""
        folder = f"{self.root}/runs/{secrets.token_hex(8)}"
        self._sh('mkdir "$1"', folder)
        try:
            yield folder
        finally:
            with suppress(DeviceError):  # a lost device is reported by whoever lost it
                self._run('rm -rf "$1"', (folder,))

    def _open(self, workdir: str) -> StoreState:
        out = self._sh(_OPEN, workdir, self._project).decode(errors="replace")
        root, space, *rest = out.split("\n", 3)
        fields = space.split()
        # Columns end in …, used, available, use%, mount point; the name may hold blanks, so they are found from the right.
        # Not `df -P`: together with -k older toybox refuses it.
        available = next((fields[i - 1] for i in range(len(fields) - 1, 3, -1) if fields[i].endswith("%")), "")
        release, manifest = 0, None
        if len(rest) > 1 and rest[0].isdigit():
            release = int(rest[0])
            try:
                manifest = msgspec.json.decode(rest[1], type=Manifest)
            except msgspec.DecodeError:
                manifest = None  # damaged or from another version: the next activation writes a good one
        return StoreState(
            root=root,
            free_bytes=int(available) * 1024 if available.isdigit() else 1 << 62,
            release=release,
            manifest=manifest,
        )

    def _run(
        self, script: str, arguments: tuple[str, ...], *, stdin: bytes = b"", timeout_s: float = _SHELL_LIMIT_S
    ) -> Completed:
        return self._connection.run(["sh", "-c", script.strip(), "edgedeploy", *arguments], timeout_s=timeout_s, stdin=stdin)

    def _sh(self, script: str, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self._run(script, arguments, stdin=stdin)
        self._check(done)
        return done.stdout

    def _check(self, done: Completed) -> None:
        if done.exit_code == 0:
            return
        seen = done.stderr.decode(errors="replace").strip()[-300:] or f"exit code {done.exit_code}"
        if any(trouble in seen for trouble in _STORAGE_TROUBLE):
            raise DeviceStorageError(
                "the device's storage refuses us",
                where=self._device,
                seen=seen,
                next_step="free some space, or set another `workdir` for the device in lab.toml",
            )
        raise DeviceRunError("a step of the push failed on the device", where=self._device, seen=seen)
