"""Push: artifacts, golden inputs and runners onto one device, as one new release. What is there already is not sent."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy.deploy.store import MANIFEST_SCHEMA, ReleaseMovedError, Store
from edgedeploy.domain.events import Finished, Progress, Sink, Started
from edgedeploy.domain.release import FileEntry, LocalFile, Manifest, RunnerBundle
from edgedeploy.domain.result import PushStats
from edgedeploy.stages.export import Prepared

_SWITCHES = 20  # attempts to switch while others push to the same device


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One run's files for one device: where each lies here, and its place in the release."""

    prepared: Prepared
    bundle: RunnerBundle

    @property
    def artifact_dir(self) -> str:
        """The artifact's folder, relative to the release."""
        return f"models/{self.prepared.run.folder}"

    @property
    def runner_dir(self) -> str:
        """The runner's folder, relative to the release."""
        return f"runners/{self.bundle.name}"

    def files(self) -> tuple[LocalFile, ...]:
        """Everything this run needs on the device."""
        artifact, folder = self.prepared.artifact, Path(self.prepared.folder)
        own = [
            LocalFile(local=str(folder / entry.path), entry=_under(self.artifact_dir, entry))
            for entry in (*artifact.files, *artifact.input_files())
        ]
        runner = [LocalFile(local=file.local, entry=_under(self.runner_dir, file.entry)) for file in self.bundle.files]
        return (*own, *runner)


def push(
    store: Store, payloads: Sequence[Payload], *, project: str, device: str, sink: Sink
) -> tuple[int, tuple[PushStats, ...]]:
    """Send what is missing, then switch to a release that holds these payloads and whatever else was deployed before.

    Returns:
        The release's number, and the figures of each payload, in order. A blob that two payloads share counts as sent
        for the first of them only.

    Raises:
        DeviceStorageError: not enough space; nothing was sent.
        DeviceLostError: the device went away; the active release is the one from before.
    """
    sink(Started(stage="push", subject=device))
    all_files = [payload.files() for payload in payloads]
    by_sha = {file.entry.sha256: file for files in all_files for file in files}
    missing = set(store.missing(file.entry for file in by_sha.values()))
    total = sum(by_sha[sha].entry.size_bytes for sha in missing)
    if missing:
        store.require_space(total)
    sent = 0

    def progress(count: int) -> None:
        nonlocal sent
        sent += count
        sink(Progress(stage="push", subject=device, done=min(sent, total), total=total, unit="bytes"))

    figures = []
    for files in all_files:
        started = time.monotonic()
        mine = {file.entry.sha256: file for file in files}
        sending = [file for sha, file in mine.items() if sha in missing]
        for file in sending:
            before = sent
            store.receive(file, progress=progress)
            sent = before + file.entry.size_bytes
            missing.discard(file.entry.sha256)
        figures.append(
            (
                sum(file.entry.size_bytes for file in mine.values()),
                sum(file.entry.size_bytes for file in sending),
                time.monotonic() - started,
            )
        )
    release = _activate(store, payloads, all_files, project)
    sink(
        Finished(
            stage="push",
            subject=device,
            cached=total == 0,
            text=f"release {release}, {total / 1e6:.2f} of {sum(f.entry.size_bytes for f in by_sha.values()) / 1e6:.2f} MB sent",
        )
    )
    return release, tuple(
        PushStats(bytes_total=size, bytes_sent=moved, seconds=round(seconds, 6), release=release)
        for size, moved, seconds in figures
    )


def _activate(store: Store, payloads: Sequence[Payload], all_files: Sequence[tuple[LocalFile, ...]], project: str) -> int:
    """Switch to a release with these payloads; when another push was quicker, to one with its payloads too."""
    for _ in range(_SWITCHES):
        try:
            return store.activate(_manifest(store, payloads, all_files, project))
        except ReleaseMovedError:
            store.reopen()
    return store.activate(_manifest(store, payloads, all_files, project))


def _manifest(store: Store, payloads: Sequence[Payload], all_files: Sequence[tuple[LocalFile, ...]], project: str) -> Manifest:
    replaced = tuple(f"{folder}/" for payload in payloads for folder in (payload.artifact_dir, payload.runner_dir))
    before = store.seen.manifest.files if store.seen.manifest else ()
    kept = {entry.path: entry for entry in before if not entry.path.startswith(replaced)}
    # Only what is still there may be linked to: a blob that somebody removed by hand is not carried over.
    gone = store.missing(kept.values())
    entries = {path: entry for path, entry in kept.items() if entry.sha256 not in gone}
    entries |= {file.entry.path: file.entry for files in all_files for file in files}
    return Manifest(schema=MANIFEST_SCHEMA, project=project, files=tuple(entries[path] for path in sorted(entries)))


def _under(folder: str, entry: FileEntry) -> FileEntry:
    return msgspec.structs.replace(entry, path=f"{folder}/{entry.path}")
