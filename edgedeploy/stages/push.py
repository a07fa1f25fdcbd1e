"""Push: artifacts, golden inputs and runners onto one device, as one new release. What is there already is not sent."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from edgedeploy.deploy.lease_keeper import this_user
from edgedeploy.deploy.signing import Signer, require_trust
from edgedeploy.deploy.store import MANIFEST_SCHEMA, ReleaseMovedError, Store
from edgedeploy.domain.events import Finished, Note, Progress, Sink, Started
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.project import KEEP_RELEASES
from edgedeploy.domain.release import Attestation, FileEntry, LocalFile, RunnerBundle
from edgedeploy.domain.result import PushStats
from edgedeploy.errors import DeviceStorageError
from edgedeploy.stages.export import Prepared

_HELPER_PAYS_BYTES = 16 << 20  # the helper has less than 1 MB; toybox hashes 140 MB/s of a core
_SWITCHES = 20  # attempts to switch while others push to the same device


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One run's files for one device: where each lies here, and its place in the release.

    ``attestations`` were made where it was exported. ``under`` is the folder of the release that is its own, with a slash;
    empty for the release itself.
    """

    prepared: Prepared
    bundle: RunnerBundle
    attestations: tuple[Attestation, ...] = ()
    under: str = ""

    @property
    def artifact_dir(self) -> str:
        """The artifact's folder, relative to the release."""
        return f"{self.under}models/{self.prepared.run.folder}"

    @property
    def runner_dir(self) -> str:
        """The runner's folder, relative to the release."""
        return f"{self.under}runners/{self.bundle.name}"

    def files(self) -> tuple[LocalFile, ...]:
        """Everything this run needs on the device."""
        artifact, folder = self.prepared.artifact, Path(self.prepared.folder)
        own = [
            LocalFile(local=str(folder / entry.path), entry=_under(self.artifact_dir, entry))
            for entry in (*artifact.files, *artifact.input_files())
        ]
        return (*own, *self._runner_files())

    def local_files(self) -> tuple[LocalFile, ...]:
        """Those of them that are on this machine: what was found on the device is there alone."""
        return self.files() if self.prepared.folder else self._runner_files()

    def attested(self, project: str, signer: Signer | None) -> tuple[Attestation, ...]:
        """For its two folders: signed now, or where it was exported."""
        made = self.attestations if signer is None else self._signed(project, signer)
        return tuple(msgspec.structs.replace(one, under=self.under) for one in made)

    def _runner_files(self) -> tuple[LocalFile, ...]:
        return tuple(LocalFile(local=file.local, entry=_under(self.runner_dir, file.entry)) for file in self.bundle.files)

    def _signed(self, project: str, signer: Signer) -> tuple[Attestation, ...]:
        own = msgspec.structs.replace(self, under="")
        entries = [file.entry for file in own.files()]
        starts: dict[str, tuple[str, ...]] = {own.artifact_dir: (), own.runner_dir: own.bundle.start}
        return tuple(
            signer.attest(project, folder, [entry for entry in entries if entry.path.startswith(f"{folder}/")], start=start)
            for folder, start in starts.items()
        )


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a project deploys to a device: how many releases stay there, who signs, whose signatures the device demands.

    With ``alone`` a release holds what is pushed, and nothing of the one before.
    """

    project: str
    device: str
    keep_releases: int = KEEP_RELEASES
    signer: Signer | None = None
    trusted_keys: tuple[str, ...] = ()
    alone: bool = False


class Tally:
    """What went over the link to one device, by files' SHA-256, in all attempts. ``moved`` is called when something did."""

    def __init__(self, *, moved: Callable[[], None] = lambda: None) -> None:
        self.sent: Counter[str] = Counter()
        self.resumed_from: dict[str, int] = {}
        self.chunks_reused: Counter[str] = Counter()
        self._moved = moved

    def add(self, sha: str, count: int) -> None:
        """So many more bytes of a file."""
        self.sent[sha] += count
        self._moved()

    def take_off(self, sha: str, count: int) -> None:
        """So many of its bytes did not go over the link after all: they were compressed away."""
        self.sent[sha] -= count


def push(
    store: Store,
    payloads: Sequence[Payload],
    terms: Terms,
    *,
    sink: Sink,
    tally: Tally | None = None,
    helper: Callable[[], LocalFile | None] = lambda: None,
) -> tuple[int, tuple[PushStats, ...]]:
    """Send what is missing, switch to a release that holds these payloads and what was deployed before, clear away old ones.

    ``helper`` gives the device helper for this device, if there is one; it is asked only when that pays.

    Returns:
        The release's number, and the figures of each payload, in order. A blob that two payloads share counts as sent
        for the first of them only.

    Raises:
        SignatureError: a device that demands signatures would get something unsigned.
        DeviceStorageError: not enough space, or no programs may be started there; nothing was sent.
        DeviceLostError: the device went away; the active release is the one from before.
    """
    device = terms.device
    sink(Started(stage="push", subject=device))
    tally = tally or Tally()
    files = [{file.entry.sha256: file for file in payload.files()} for payload in payloads]
    by_sha = {sha: file for mine in files for sha, file in mine.items()}
    missing = store.missing(file.entry for file in by_sha.values())
    found = _damage(store, [by_sha[sha].entry for sha in missing])
    release = _Release(store, payloads, terms)
    release.manifest()
    _require(store, payloads, [by_sha[sha].entry for sha in missing], device)
    _equip(store, sum(by_sha[sha].entry.size_bytes for sha in missing), helper)
    seconds = _Transfer(store, sink, device, tally, [by_sha[sha] for sha in missing]).send_all(files)
    if text := release.not_carried_over():
        sink(Note(text=text, level="warning"))
    number = release.activate()
    for complaint in (*found, *store.complaints):
        sink(Note(text=f"{device}: {complaint}", level="warning"))
    store.clear_away(terms.keep_releases)
    total = sum(file.entry.size_bytes for file in by_sha.values())
    sink(
        Finished(
            stage="push",
            subject=device,
            cached=not missing,
            text=f"release {number}, {tally.sent.total() / 1e6:.2f} of {total / 1e6:.2f} MB sent",
        )
    )
    return number, tuple(_figures(files, seconds, tally, number))


def _figures(
    files: Sequence[Mapping[str, LocalFile]], seconds: Sequence[float], tally: Tally, release: int
) -> Iterator[PushStats]:
    """Of each payload; what two of them share counts as sent for the first."""
    counted: set[str] = set()
    for mine, spent_s in zip(files, seconds, strict=True):
        own = mine.keys() - counted
        counted |= mine.keys()
        yield PushStats(
            bytes_total=sum(file.entry.size_bytes for file in mine.values()),
            bytes_sent=sum(tally.sent[sha] for sha in own),
            resumed_from=sum(tally.resumed_from.get(sha, 0) for sha in own),
            chunks_reused=sum(tally.chunks_reused[sha] for sha in own),
            seconds=round(spent_s, 6),
            release=release,
        )


class _Transfer:
    """The files that a device has not got, sent one after the other, with one progress over all of them."""

    def __init__(self, store: Store, sink: Sink, device: str, tally: Tally, missing: Sequence[LocalFile]) -> None:
        self._store = store
        self._sink = sink
        self._device = device
        self._tally = tally
        self._missing = {file.entry.sha256 for file in missing}
        self._total = sum(file.entry.size_bytes for file in missing)
        self._done = 0

    def send_all(self, payloads: Sequence[dict[str, LocalFile]]) -> list[float]:
        """How many seconds each payload took."""
        seconds = []
        for files in payloads:
            began = time.monotonic()
            mine = {sha: file for sha, file in files.items() if sha in self._missing}
            self._missing -= mine.keys()
            arrived = self._send_small(mine)
            for sha, file in mine.items():
                if sha not in arrived:
                    self._send(file)
            seconds.append(time.monotonic() - began)
        return seconds

    def _send_small(self, files: dict[str, LocalFile]) -> frozenset[str]:
        """What has arrived of them, many in one go. Meanwhile the first stands for all; what is around them does not count."""
        moved = 0

        def progress(count: int) -> None:
            nonlocal moved
            moved += count
            self._tally.add(next(iter(files)), count)
            self._tell(self._done + moved)

        arrived = self._store.receive_small(tuple(files.values()), progress=progress)
        if files:
            self._tally.sent[next(iter(files))] -= moved
        for sha in arrived:
            self._tally.sent[sha] += files[sha].entry.size_bytes
            self._done += files[sha].entry.size_bytes
        return arrived

    def _send(self, file: LocalFile) -> None:
        sha = file.entry.sha256
        shown = self._done + min(self._store.seen.parts.get(sha, 0), file.entry.size_bytes)

        def progress(count: int) -> None:
            nonlocal shown
            shown += count
            self._tally.add(sha, count)
            self._tell(shown)

        received = self._store.receive(file, progress=progress, saved=partial(self._tally.take_off, sha))
        self._tally.resumed_from.setdefault(sha, received.resumed_from)
        self._tally.chunks_reused[sha] += received.chunks_reused
        self._done += file.entry.size_bytes
        self._tell(self._done)

    def _tell(self, done: int) -> None:
        self._sink(Progress(stage="push", subject=self._device, done=min(done, self._total), total=self._total, unit="bytes"))


def _equip(store: Store, missing_bytes: int, helper: Callable[[], LocalFile | None]) -> None:
    """Have a device helper do the hashing: ours, where so much is to be sent that sending it as well pays; else any."""
    file = helper() if missing_bytes >= _HELPER_PAYS_BYTES and store.seen.runs_programs else None
    if file is None or not store.install_helper(file):
        store.use_installed_helper()


def _damage(store: Store, missing: Sequence[FileEntry]) -> list[str]:
    """What was seen to be damaged, in words."""
    found = [f"{entry.path} was damaged there, and is sent again" for entry in missing if entry.sha256 in store.seen.blobs]
    current = store.project.current
    if current and store.seen.manifest is None:
        what = "cannot be read" if current in store.project.releases else "is gone"
        found.append(f"release {current} {what}; the new one has what is pushed now, and nothing else")
    elif not current and store.project.whole:
        found.append("no release was current, and there are some; the new one has what is pushed now, and nothing else")
    return found


def _require(store: Store, payloads: Sequence[Payload], missing: Sequence[FileEntry], device: str) -> None:
    """Whether the device can take this at all."""
    if not store.seen.runs_programs and any(payload.bundle.start[0].startswith("{dir}") for payload in payloads):
        raise DeviceStorageError(
            "programs may not be started from the workdir",
            where=f"device {device}: {store.root}",
            seen="its file system is mounted noexec, or a policy forbids it",
            next_step="set another `workdir` for the device in lab.toml",
        )
    if missing:
        store.require_space(
            sum(entry.size_bytes - min(store.seen.parts.get(entry.sha256, 0), entry.size_bytes) for entry in missing),
            wanted={file.entry.sha256 for payload in payloads for file in payload.files()},
        )


class _Release:
    """The release that these payloads make with what was deployed before."""

    def __init__(self, store: Store, payloads: Sequence[Payload], terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._replaced = tuple(f"{folder}/" for payload in payloads for folder in (payload.artifact_dir, payload.runner_dir))
        self._entries = {file.entry.path: file.entry for payload in payloads for file in payload.files()}
        self._starts = {payload.runner_dir: payload.bundle.start for payload in payloads}
        self._artifacts = {payload.artifact_dir: payload.prepared.artifact.portable() for payload in payloads}
        self._attestations = {made.place: made for payload in payloads for made in payload.attested(terms.project, terms.signer)}

    def manifest(self) -> Manifest:
        """What it consists of, as the device was last seen.

        Raises:
            SignatureError: somebody trusted has to vouch for it, and nobody does.
        """
        before = self._before
        # Only what is still there may be linked to: a blob that somebody removed by hand is not carried over.
        kept, _ = self._carried_over()
        entries = {entry.path: entry for entry in kept} | self._entries

        def is_there(folder: str) -> bool:
            return any(path.startswith(f"{folder}/") for path in entries)

        attestations = {made.place: made for made in (before.attestations if before else ()) if is_there(made.place)}
        attestations |= self._attestations
        starts = {folder: start for folder, start in (before.starts if before else {}).items() if is_there(folder)} | self._starts
        artifacts = {folder: one for folder, one in (before.artifacts if before else {}).items() if is_there(folder)}
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            project=self._terms.project,
            files=tuple(entries[path] for path in sorted(entries)),
            created_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            pushed_by=this_user(),
            starts=dict(sorted(starts.items())),
            artifacts=dict(sorted((artifacts | self._artifacts).items())),
            attestations=tuple(attestations[place] for place in sorted(attestations)),
        )
        if self._terms.trusted_keys:
            require_trust(manifest, self._terms.trusted_keys, where=f"device {self._terms.device}")
        return manifest

    @property
    def _before(self) -> Manifest | None:
        return None if self._terms.alone else self._store.seen.manifest

    def not_carried_over(self) -> str:
        """What to tell of files of other models that are gone from the device; empty where none is."""
        _, gone = self._carried_over()
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        found = f"{gone[0].path}{more} was deployed before and is gone from the device" if gone else ""
        return found and f"{self._terms.device}: {found}; what it belongs to is not whole any more: push it again"

    def _carried_over(self) -> tuple[list[FileEntry], list[FileEntry]]:
        """Of what was deployed before and is not replaced: what is there, and what is gone."""
        before = self._before
        others = [entry for entry in (before.files if before else ()) if not entry.path.startswith(self._replaced)]
        gone = self._store.missing(others)
        return [entry for entry in others if entry.sha256 not in gone], [entry for entry in others if entry.sha256 in gone]

    def activate(self) -> int:
        """Switch to it; when another push was quicker, to one with its payloads too."""
        for _ in range(_SWITCHES):
            try:
                return self._store.activate(self.manifest())
            except ReleaseMovedError:
                self._store.reopen()
        return self._store.activate(self.manifest())


def _under(folder: str, entry: FileEntry) -> FileEntry:
    return msgspec.structs.replace(entry, path=f"{folder}/{entry.path}")
