"""The store on a device: content-addressed blobs, releases made of links into them, one rename that switches.

::

    <workdir>/blobs/<sha256>               complete and verified, read-only
    <workdir>/incoming/<sha256>.part       being received, resumable; no runner ever sees it
    <workdir>/projects/<name>/releases/<n>/…   links into blobs, manifest.json
    <workdir>/projects/<name>/current      -> releases/<n>
    <workdir>/projects/<name>/previous     -> releases/<m>, what was current before
    <workdir>/leases/<n>                   who holds the device, until when
    <workdir>/tools/<sha256>               the device helper, where large files were sent
    <workdir>/runs/<id>/                   outputs of one run, removed after it
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import msgspec

from edgedeploy.deploy import delta
from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.device_shell import DIGEST, FILE_S, LIMIT_S, POINT, DeviceShell, hashing_limit_s
from edgedeploy.deploy.durable import FLUSH, flush_blobs
from edgedeploy.deploy.incoming import Receiver
from edgedeploy.deploy.inventory import SAFE_PATH, Inventory, Project, look, manifest_of
from edgedeploy.deploy.packs import packs, send_pack
from edgedeploy.deploy.retention import KEPT_BY_CLEAN, Waste, waste
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.errors import DeviceError, DeviceRunError, DeviceStorageError, UsageError
from edgedeploy.ports import ByteProgress, Connection

MANIFEST_SCHEMA = "edgedeploy.release/1"
_RESERVE_BYTES = 4 << 20  # manifest, links, outputs of a run
_MOVED, _BLOB_GONE = 8, 7  # exit codes of our own scripts
_HELPER_DAMAGED, _HELPER_IDLE = 9, 8

_DAMAGED = (
    DIGEST
    + """
tool=$2; cd "$1/blobs" || exit 1
while read -r sha; do
  if [ -f "$sha" ] && [ "$(digest "$sha")" = "$sha" ]; then continue; fi
  [ "$3" = keep ] || rm -rf "$sha"
  echo "$sha"
done
"""
)
_LINKED = """
cd "$1" || exit 1
while IFS= read -r line; do [ "${line#* }" -ef "$2/blobs/${line%% *}" ] || echo "${line#* }"; done
"""
_HELPER = (
    DIGEST
    + """
tool=; cd "$1/tools" || exit 1
[ "$(digest "$2")" = "$2" ] || { rm -rf "$2"; exit 9; }
"./$2" version >/dev/null || exit 8
"""
)
_NOW = """
now() { current=$(readlink current 2>/dev/null); case ${current##*/} in *[!0-9]*) ;; *) echo "${current##*/}" ;; esac; }
"""
# A number belongs to whoever could make its folder; the manifest is written last, the switch is one rename, to what is on the
# medium by then.
_ACTIVATE = (
    _NOW
    + POINT
    + FLUSH
    + """
[ "$5" = durable ] || flush=true
cd "$1/projects/$2" || exit 1
[ "$(now)" = "$4" ] || exit 8
n=$(ls releases | grep -E '^[0-9]+$' | sort -n | tail -n 1); n=$((${n:-0} + 1)); tries=0
until mkdir "releases/$n" 2>/dev/null; do
  n=$((n + 1)); tries=$((tries + 1)); [ "$tries" -lt 100 ] || { mkdir "releases/$n"; exit 1; }
done
new=releases/$n; i=0
while [ "$i" -lt "$3" ]; do
  IFS= read -r line || exit 1
  sha=${line%% *}; path=${line#* }
  [ -f "$1/blobs/$sha" ] || { rm -rf "$new"; echo "$sha"; exit 7; }
  case $path in */*) [ -d "$new/${path%/*}" ] || mkdir -p "$new/${path%/*}" || exit 1 ;; esac
  ln -s "$1/blobs/$sha" "$new/$path" || exit 1
  i=$((i + 1))
done
cat > "$new/.manifest" && mv -f "$new/.manifest" "$new/manifest.json" || exit 1
flush_release() { find "$new" \\( -type d -o -name manifest.json \\) -exec "$flush" {} + && "$flush" releases . .. ../..; }
if said=$(flush_release 2>&1); then said=; else said=${said:-failed}; fi
[ -z "$4" ] || [ ! -d "releases/$4" ] || point previous "releases/$4"
point current "releases/$n"
"$flush" .
echo "$n $said"
"""
)
_ROLL_BACK = (
    _NOW
    + POINT
    + FLUSH
    + """
cd "$1/projects/$2" || exit 1
[ "$(now)" = "$3" ] || exit 8
point previous "releases/$3"
point current "releases/$4"
"$flush" . || :
"""
)
_MANIFESTS = """
cd "$1/projects/$2/releases" || exit 1
for n in *; do
  if [ -f "$n/manifest.json" ]; then echo "$n"; tr -d '\\n' < "$n/manifest.json"; echo; fi
done
"""
_REMOVE = 'cd "$1" || exit 1; while IFS= read -r path; do rm -rf "./$path" || exit 1; done'


def _unheard(_count: int) -> None:
    """A count that nobody asks for."""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """How a file came: from which byte on it was sent, and how many chunks of other files on the device were used again."""

    resumed_from: int
    chunks_reused: int = 0


class ReleaseMovedError(DeviceRunError):
    """The current release is not the one that was there when the store was opened."""


class Store:
    """The store of one project on one device, over an open connection. ``seen`` is what was there when it was last looked at."""

    def __init__(
        self,
        connection: Connection,
        *,
        device: str,
        workdir: str,
        project: str,
        chunks: ChunkMaps | None = None,
    ) -> None:
        self._shell = DeviceShell(connection, device)
        self._device = device
        self._project = project
        self._workdir = workdir
        self._changed = False
        self._taken_bytes = 0
        self._arrived: set[str] = set()
        self._flushes = True
        self._tool = ""
        self._chunks = chunks or ChunkMaps(None)
        self.complaints: list[str] = []
        self.seen: Inventory = self._look()

    def _look(self) -> Inventory:
        return look(self._shell, workdir=self._workdir, project=self._project)

    @property
    def root(self) -> str:
        """The store's folder, absolute, on the device."""
        return self.seen.root

    @property
    def project(self) -> Project:
        """The project's releases."""
        return self.seen.projects.get(self._project) or Project()

    def release_dir(self, release: int) -> str:
        """The folder of a release on the device."""
        return f"{self.root}/projects/{self._project}/releases/{release}"

    def reopen(self) -> None:
        """Look again at what the device holds."""
        self.seen = self._look()
        self._changed = False
        self._taken_bytes = 0

    def missing(self, entries: Iterable[FileEntry]) -> frozenset[str]:
        """SHA-256 of those entries that the device has not got; one of another size is a damaged one."""
        return frozenset(entry.sha256 for entry in entries if self.seen.blobs.get(entry.sha256) != entry.size_bytes)

    def require_space(self, size_bytes: int, *, wanted: Iterable[str] = ()) -> None:
        """Refuse before a byte is sent, and say what cleaning would free, without what is ``wanted`` (SHA-256) all the same.

        Raises:
            DeviceStorageError: fewer than ``size_bytes`` and a small reserve are free.
        """
        lacking = size_bytes + _RESERVE_BYTES - self.seen.free_bytes
        if lacking <= 0:
            return
        freed = waste(self.seen.without(frozenset(wanted)), keep={self._project: KEPT_BY_CLEAN}, parts=True).freed_bytes
        if freed >= lacking:
            next_step = "`edgedeploy clean` for this target and device, then push again"
        else:
            next_step = f"free {(lacking - freed) / 1e6:.1f} MB more on the device, or set another `workdir` in lab.toml"
        raise DeviceStorageError(
            f"not enough space: {size_bytes / 1e6:.1f} MB to send, {self.seen.free_bytes / 1e6:.1f} MB free",
            where=f"device {self._device}: {self.root}",
            seen=f"`edgedeploy clean` would free {freed / 1e6:.1f} MB",
            next_step=next_step,
        )

    def damaged(self, entries: Iterable[FileEntry], *, remove: bool = False) -> frozenset[str]:
        """Hash these blobs on the device; the SHA-256 of those that are not what their name says.

        They stay until a good one takes their place, unless they are to be removed.
        """
        sizes = {entry.sha256: entry.size_bytes for entry in entries}
        names = "".join(f"{sha}\n" for sha in sorted(sizes))
        limit_s = hashing_limit_s(sum(sizes.values()), files=len(sizes))
        done = self._shell.run(_DAMAGED, self.root, self._tool, "" if remove else "keep", stdin=names.encode(), timeout_s=limit_s)
        return frozenset(done.stdout.decode().split())

    def receive(self, file: LocalFile, *, progress: ByteProgress, saved: ByteProgress = _unheard) -> Received:
        """Send one file: what is in no file of the device, from where an earlier transfer was cut.

        ``saved`` gets how many of the bytes that ``progress`` counted compression kept off the link. See
        :meth:`edgedeploy.deploy.incoming.Receiver.receive` for what is raised.
        """
        self._changed = True
        known = self.seen.parts.get(file.entry.sha256, 0)
        large = file.entry.size_bytes - known >= delta.LEAST_FILE_BYTES
        self._arrived.add(file.entry.sha256)
        received = self._receive_changes(file, progress, saved) if large else None
        if received is None:
            received = self._receive_whole(file, progress, saved)
            if large and not self._tool:
                self._chunks.of_file(file)  # the device could not tell the next version what is in this one
        self._taken_bytes += file.entry.size_bytes - known
        return received

    def receive_small(self, files: Sequence[LocalFile], *, progress: ByteProgress) -> frozenset[str]:
        """Send the small ones of several files, many in one go, where the device can unpack that.

        Returns the SHA-256 of those that have arrived; the others are for :meth:`receive`. ``progress`` counts what goes over
        the link: the archives' bytes.
        """
        arrived: set[str] = set()
        for group in packs(files):
            self._changed = True
            there = send_pack(self._shell, self.root, self._tool, group, progress=progress)
            if not there:
                break
            arrived |= there
        self._arrived |= arrived
        self._taken_bytes += sum(file.entry.size_bytes for file in files if file.entry.sha256 in arrived)
        return frozenset(arrived)

    def _receive_whole(self, file: LocalFile, progress: ByteProgress, saved: ByteProgress) -> Received:
        receiver = Receiver(shell=self._shell, root=self.root, tool=self._tool)
        part_bytes = self.seen.parts.get(file.entry.sha256, 0)
        resumed_from = receiver.receive(file, part_bytes=part_bytes, progress=progress, saved=saved)
        return Received(resumed_from=resumed_from)

    def _receive_changes(self, file: LocalFile, progress: ByteProgress, saved: ByteProgress) -> Received | None:
        """None where that does not pay, or did not work."""
        chunks, candidates = self._chunks.of_both(file, self.seen, self._ask_for_chunks if self._tool else None)
        if not candidates:
            return None
        made = delta.plan(chunks, candidates)
        to_send_bytes = file.entry.size_bytes - self.seen.parts.get(file.entry.sha256, 0)
        # The file that changes are taken from stays, and they have to lie there until it is put together.
        room = file.entry.size_bytes + made.literal_bytes + _RESERVE_BYTES <= self.seen.free_bytes - self._taken_bytes
        if not room or not made.pays(to_send_bytes, by_shell=not self._tool):
            return None
        with delta.literals(file, made) as literal:
            changes, sent = Received(resumed_from=0), []
            # What is there already was sent by a push that was cut, or is a file of its own: that one has to stay.
            if literal is not None and self.missing((literal.entry,)):
                changes, sent = self._receive_whole(literal, progress, saved), [f"blobs/{literal.entry.sha256}"]
            lines = delta.recipe(made, literal)
            whole = delta.assemble(self._shell, self.root, self._tool, file, lines)
            progress(len(lines))
            self.remove(sent)
        if whole:
            return msgspec.structs.replace(changes, chunks_reused=made.chunks_reused)
        # A blob that is not what its name says would spoil the next one as well.
        sources = [FileEntry(path="", sha256=sha, size_bytes=self.seen.blobs[sha]) for sha in made.sources]
        if damaged := self.damaged(sources, remove=True):
            self.complaints.append(
                f"damaged files were removed ({len(damaged)}); what needs them is sent again when it is pushed"
            )
        return None

    def _ask_for_chunks(self, sha: str) -> bytes:
        return delta.chunks_on_device(self._shell, self.root, self._tool, sha, self.seen.blobs[sha])

    def install_helper(self, file: LocalFile) -> bool:
        """Have this device helper there, in place of any other one, and use it from now on; False where it does not run there."""
        sha = file.entry.sha256
        used = sha in self.seen.tools and self.use_helper(sha)
        if sha not in self.seen.tools:
            receiver = Receiver(shell=self._shell, root=self.root, tool="", place="tools")
            receiver.receive(file, part_bytes=0, progress=_unheard, saved=_unheard)
            used = self.use_helper(sha)
        if used:
            self.remove(f"tools/{other}" for other in sorted(self.seen.tools - {sha}))
            self.seen = replace(self.seen, tools=frozenset({sha}))
        return used

    def use_installed_helper(self) -> bool:
        """Use the device helper from now on if it is there; whether it is."""
        return any(self.use_helper(sha) for sha in sorted(self.seen.tools))

    def use_helper(self, sha: str) -> bool:
        """Use a helper that is there, if it is what it should be and runs; whether it is used."""
        done = self._shell.run(_HELPER, self.root, sha, expected=(_HELPER_DAMAGED, _HELPER_IDLE))
        if done.exit_code == _HELPER_DAMAGED:
            self.seen = replace(self.seen, tools=self.seen.tools - {sha})
            self.complaints.append("the device helper was damaged there, and is removed")
        elif done.exit_code == 0:
            self._tool = f"{self.root}/tools/{sha}"
        return done.exit_code == 0

    def activate(self, manifest: Manifest) -> int:
        """Make a release of blobs that are all there, and switch to it with one rename; returns its number.

        Before it leads there, all of it is on the device's medium. When the current release is the same already and whole,
        nothing is done.

        Raises:
            ReleaseMovedError: somebody else switched since the store was opened; open it again and merge.
            DeviceRunError: a blob is gone.
        """
        self._refuse_unsafe_paths(manifest)
        durable = self._flush(manifest)
        current = self.project.current
        if same_release(manifest, self.seen.manifest):
            if not self.broken_links(manifest):
                return current
            self.complaints.append(f"links of release {current} were damaged: it is made anew")
        self._changed = True
        links = "".join(f"{entry.sha256} {entry.path}\n" for entry in manifest.files)
        done = self._shell.run(
            _ACTIVATE,
            self.root,
            self._project,
            str(len(manifest.files)),
            str(current or ""),
            "durable" if durable else "",
            stdin=links.encode() + msgspec.json.encode(manifest),
            timeout_s=LIMIT_S + len(manifest.files) * FILE_S,
            expected=(_MOVED, _BLOB_GONE),
        )
        where = f"device {self._device}"
        if done.exit_code == _MOVED:
            raise ReleaseMovedError("another push switched the release meanwhile", where=where, next_step="push again")
        if done.exit_code == _BLOB_GONE:
            gone = done.stdout.decode().strip()
            raise DeviceRunError("a file was removed from the device meanwhile", where=where, seen=gone, next_step="push again")
        number, _, said = done.stdout.decode(errors="replace").strip().partition(" ")
        if said:
            self._not_durable(said)
        return int(number)

    def _flush(self, manifest: Manifest) -> bool:
        """Have on the medium what arrived, by this push or by one that never came to its release; whether it is."""
        projects = self.seen.projects.values()
        linked = {sha for project in projects for number in project.whole for sha in project.releases[number]}
        settled = linked - self._arrived
        fresh = {entry.sha256: entry.size_bytes for entry in manifest.files if entry.sha256 not in settled}
        complaint = flush_blobs(self._shell, self.root, fresh) if fresh and self._flushes else ""
        if complaint:
            self._not_durable(complaint)
        else:
            self._arrived.clear()
        return self._flushes

    def _not_durable(self, seen: str) -> None:
        self._flushes = False  # not waited for again
        self.complaints.append(
            f"not known whether the release is on the device's medium ({seen}); `edgedeploy verify` if it loses power soon"
        )

    def _refuse_unsafe_paths(self, manifest: Manifest) -> None:
        for entry in manifest.files:
            if not SAFE_PATH.fullmatch(entry.path):
                raise DeviceRunError("a path that could leave the release", where=f"device {self._device}", seen=repr(entry.path))

    def roll_back(self, to: int | None = None) -> int:
        """Switch to release ``to``, or to the one that was current before; returns its number.

        Raises:
            UsageError: there is no such release.
            DeviceRunError: files of it are gone, or somebody else switched.
        """
        project, number = self.project, self.way_back(to)
        if number == project.current:
            return number
        arguments = (self.root, self._project, str(project.current or ""), str(number))
        done = self._shell.run(_ROLL_BACK, *arguments, expected=(_MOVED,))
        if done.exit_code == _MOVED:
            raise ReleaseMovedError(
                "a push switched the release meanwhile", where=f"device {self._device}", next_step="try again"
            )
        return number

    def way_back(self, to: int | None = None) -> int:
        """The release that :meth:`roll_back` would switch to; it raises what that would raise before it does."""
        project = self.project
        # Equal while a way back that died has switched only one of the two.
        before = project.previous if project.previous != project.current else max(project.whole - {project.current}, default=0)
        number = to or before
        kept = ", ".join(map(str, sorted(project.whole))) or "none"
        if not number:
            raise UsageError("there is no release to go back to", where=f"device {self._device}", seen=f"on the device: {kept}")
        if number not in project.whole:
            raise UsageError(f"there is no release {number}", where=f"device {self._device}", seen=f"on the device: {kept}")
        manifest = self.manifests().get(number)
        gone = len(self.lacking(number, manifest)) if manifest else 0
        if gone or manifest is None:
            raise DeviceRunError(
                f"release {number} is not whole any more",
                where=f"device {self._device}: {self.release_dir(number)}",
                seen=f"{gone} of its files are gone" if manifest else "its manifest cannot be read",
                next_step="push what it held again",
            )
        return number

    def lacking(self, number: int, manifest: Manifest, *, project: str = "") -> frozenset[str]:
        """SHA-256 of what a release of a project (this one) consists of by its manifest, and has not got."""
        linked = self.seen.projects[project or self._project].releases[number]
        return self.missing(manifest.files) | ({entry.sha256 for entry in manifest.files} - linked)

    def manifests(self, project: str = "") -> dict[int, Manifest]:
        """What a project's releases (this one's) say of themselves; those whose manifest cannot be read are left out."""
        project = project or self._project
        lines = self._shell.run(_MANIFESTS, self.root, project).stdout.split(b"\n")
        found = {}
        for number, content in zip(lines[::2], lines[1::2], strict=False):
            manifest = manifest_of(content, project)
            if manifest is not None and number.isdigit():  # a person may have copied one aside
                found[int(number)] = manifest
        return found

    def clear_away(self, keep_releases: int) -> Waste:
        """Remove the project's older releases, what killed pushes left behind, and blobs that nobody links to any more."""
        if self._changed:
            self.reopen()
        found = waste(self.seen, keep={self._project: keep_releases}, parts=False)
        self.remove(found.paths)
        return found

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files and folders, named from the store's root."""
        listed = "".join(f"{path}\n" for path in paths)
        if listed:
            self._shell.run(_REMOVE, self.root, stdin=listed.encode("utf-8", "surrogateescape"))

    def broken_links(self, manifest: Manifest) -> frozenset[str]:
        """Paths of ``manifest``, that of the current release, that do not lead to the files they should."""
        links = "".join(f"{entry.sha256} {entry.path}\n" for entry in manifest.files)
        done = self._shell.run(_LINKED, self.release_dir(self.project.current), self.root, stdin=links.encode())
        return frozenset(done.stdout.decode().split("\n")) - {""}

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A folder on the device that may be written, gone afterwards; its absolute path there."""
        folder = f"{self.root}/runs/{secrets.token_hex(8)}"
        self._shell.run('mkdir "$1"', folder)
        try:
            yield folder
        finally:
            with suppress(DeviceError, DeviceRunError):  # a lost device is reported by whoever lost it
                self._shell.run('rm -rf "$1"', folder)


def same_release(one: Manifest, other: Manifest | None) -> bool:
    """Whether they say the same of a release; when and by whom it was pushed does not count."""
    return other is not None and (one.files, one.starts, one.artifacts, one.attestations) == (
        other.files,
        other.starts,
        other.artifacts,
        other.attestations,
    )
