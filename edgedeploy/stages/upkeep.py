"""Releases on devices between pushes: what is there, the way back, whether it is sound, what may go."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec

from edgedeploy.deploy.inventory import Project
from edgedeploy.deploy.retention import KEPT_BY_CLEAN, Waste, waste
from edgedeploy.deploy.signing import require_trust
from edgedeploy.deploy.store import Store
from edgedeploy.domain.events import Finished, Progress, Started
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry
from edgedeploy.domain.upkeep import (
    CLEAN_SCHEMA,
    RELEASES_SCHEMA,
    ROLLBACK_SCHEMA,
    VERIFY_SCHEMA,
    BadFile,
    Cleaned,
    GoneRelease,
    ProjectReleases,
    ReleaseFacts,
    Releases,
    RolledBack,
    UpkeepReport,
    Verified,
)
from edgedeploy.errors import UsageError
from edgedeploy.ports import AppConnection
from edgedeploy.stages.fleet import Fleet, Visit, on_each
from edgedeploy.stages.hashing import watched

_BATCH_BYTES = 64 << 20  # hashed between two signs of progress
_LANE_PARTS = 3  # models/<model>/<recipe>/<lane>/…


def list_releases(fleet: Fleet, *, every_project: bool = False) -> UpkeepReport[Releases]:
    """The releases of the project, or of every project, on each device. Nothing is hashed."""

    def look(at: Visit) -> Releases:
        store = at.store()
        # A name that cannot be printed is none of ours.
        names = sorted(name for name in store.seen.projects if name.isprintable()) if every_project else [fleet.project]
        projects = [ProjectReleases(project=name, releases=tuple(_releases(store, name))) for name in names]
        return Releases(
            projects=tuple(project for project in projects if project.releases),
            stored_bytes=sum(store.seen.blobs.values()),
            free_bytes=store.seen.free_bytes,
        )

    return on_each(fleet, RELEASES_SCHEMA, look)


def roll_back(fleet: Fleet, *, to: int | None = None, dry_run: bool = False) -> UpkeepReport[RolledBack]:
    """Switch each device to release ``to``, or to the one that was current before.

    Where the device demands signatures, that one's have to hold.
    """
    aimed: dict[str, tuple[int, int]] = {}  # by device: a second attempt must not go back from where the first one went

    def switch(at: Visit) -> RolledBack:
        store = at.store()
        name = at.device.name
        if name not in aimed:
            goal = store.way_back(to)
            if at.trusted_keys:
                require_trust(store.manifests()[goal], at.trusted_keys, where=f"device {name}")
            aimed[name] = (store.project.current, goal)
        before, after = aimed[name]
        began = time.monotonic()
        if not dry_run:
            store.roll_back(after)
        seconds = 0.0 if dry_run else round(time.monotonic() - began, 6)
        return RolledBack(from_release=before, to_release=after, done=not dry_run and before != after, seconds=seconds)

    return on_each(fleet, ROLLBACK_SCHEMA, switch, lease_for="" if dry_run else f"rollback {fleet.project}")


def verify_files(fleet: Fleet, *, everything: bool = False, dry_run: bool = False) -> UpkeepReport[Verified]:
    """Hash on each device what the project's current release consists of, or every file of every project.

    By the device helper, if it is there, or the device's own sha256sum. A damaged file is removed, so that no runner takes it,
    and the next push sends it again; with ``dry_run`` it stays. Where the device demands signatures, the
    release's have to hold.
    """

    def check(at: Visit) -> Verified:
        store = at.store()
        name, sink = at.device.name, fleet.sink
        if not everything and not store.project.current:
            raise UsageError(f"nothing of {fleet.project} is deployed", where=f"device {name}", next_step="push it first")
        if at.trusted_keys and store.seen.manifest:
            require_trust(store.seen.manifest, at.trusted_keys, where=f"device {name}")
        store.use_installed_helper()
        began = time.monotonic()
        sink(Started(stage="verify", subject=name))
        bad = [] if everything else list(_bad_links(store))
        entries = _all_entries(store) if everything else _current_entries(store)
        total = sum(entry.size_bytes for entry in entries)
        missing = {entry.sha256 for entry in entries if entry.sha256 not in store.seen.blobs}
        damaged: set[str] = set()
        done = 0
        for batch in _batches([entry for entry in entries if entry.sha256 not in missing]):
            with _told(at, store, batch, done, total):
                damaged |= store.damaged(batch, remove=not dry_run)
            done += sum(entry.size_bytes for entry in batch)
            sink(Progress(stage="verify", subject=name, done=done, total=total, unit="bytes"))
        places = _places(store, everything=everything)
        bad += [BadFile(what="missing", sha256=sha, paths=places[sha], removed=False) for sha in sorted(missing)]
        bad += [BadFile(what="damaged", sha256=sha, paths=places[sha], removed=not dry_run) for sha in sorted(damaged)]
        text = f"{len(entries)} files, {done / 1e6:.1f} MB hashed, {len(bad)} bad"
        sink(Finished(stage="verify", subject=name, cached=False, text=text))
        return Verified(
            release=store.project.current,
            files=len(entries),
            size_bytes=done,
            seconds=round(time.monotonic() - began, 3),
            bad=tuple(bad),
        )

    return on_each(fleet, VERIFY_SCHEMA, check, lease_for=f"verify {fleet.project}")


def _told(at: Visit, store: Store, batch: Sequence[FileEntry], done: int, total: int) -> AbstractContextManager[None]:
    """Of a large file it is told that it is hashed, and how far the device is with it."""
    large = batch[0]
    if large.size_bytes < _BATCH_BYTES or isinstance(at.connection, AppConnection):
        return nullcontext()
    text = f"now {large.path}, {large.size_bytes / 1e6:.0f} MB"

    def tell(count: int) -> None:
        step = Progress(stage="verify", subject=at.device.name, done=done + count, total=total, unit="bytes", text=text)
        at.fleet.sink(step)

    tell(0)
    return watched(at.another, f"{store.root}/blobs/{large.sha256}", large.size_bytes, tell)


def clean(
    fleet: Fleet, *, keep: int = KEPT_BY_CLEAN, whole_project: bool = False, dry_run: bool = False
) -> UpkeepReport[Cleaned]:
    """Remove what nobody needs: the project's older releases, files without a release, transfers that were cut.

    ``keep`` releases stay, the newest, and always the current one and the one before. With ``whole_project`` none of the
    project's stays.
    """
    planned: dict[str, Waste] = {}  # by device: a second attempt finds only what the first one left

    def sweep(at: Visit) -> Cleaned:
        store = at.store()
        found = waste(store.seen, keep={fleet.project: keep}, parts=True, whole_project=fleet.project if whole_project else "")
        first = planned.setdefault(at.device.name, found)
        if not dry_run:
            store.remove(found.paths)
            store.reopen()
            if whole_project:
                store.remove([f"projects/{fleet.project}"])  # looking made its folder again
        return Cleaned(
            done=not dry_run,
            releases=tuple(GoneRelease(project=name, number=number) for name, number in first.releases),
            files=sum(path.startswith("blobs/") for path in first.paths),
            transfers=sum(path.startswith("incoming/") for path in first.paths),
            freed_bytes=first.freed_bytes,
            free_bytes=store.seen.free_bytes,
        )

    return on_each(fleet, CLEAN_SCHEMA, sweep, lease_for="" if dry_run else f"clean {fleet.project}")


def _releases(store: Store, name: str) -> Iterator[ReleaseFacts]:
    """Newest first."""
    project = store.seen.projects.get(name) or Project()
    manifests = store.manifests(name) if project.releases else {}
    for number in sorted(project.releases, reverse=True):
        manifest = manifests.get(number)
        bare = ReleaseFacts(number=number, current=number == project.current, previous=number == project.previous, whole=False)
        if manifest is None:
            yield bare
            continue
        yield msgspec.structs.replace(
            bare,
            whole=not store.lacking(number, manifest, project=name),
            created_at=manifest.created_at,
            pushed_by=manifest.pushed_by,
            models=_models(manifest),
            files=len(manifest.files),
            size_bytes=sum({entry.sha256: entry.size_bytes for entry in manifest.files}.values()),
        )


def _models(manifest: Manifest) -> tuple[str, ...]:
    parts = [entry.path.split("/") for entry in manifest.files]
    found = {"/".join(names[1 : 1 + _LANE_PARTS]) for names in parts if names[0] == "models" and len(names) > 1 + _LANE_PARTS}
    return tuple(sorted(found))


def _current_entries(store: Store) -> list[FileEntry]:
    """One per content."""
    if store.seen.manifest is not None:
        return list({entry.sha256: entry for entry in store.seen.manifest.files}.values())
    linked = store.project.releases.get(store.project.current, set())
    return [FileEntry(path=sha, sha256=sha, size_bytes=store.seen.blobs.get(sha, 0)) for sha in sorted(linked)]


def _all_entries(store: Store) -> list[FileEntry]:
    """Every file that is there, and those that a finished release links to."""
    projects = store.seen.projects.values()
    linked = {sha for project in projects for number in project.whole for sha in project.releases[number]}
    blobs = store.seen.blobs
    return [FileEntry(path=sha, sha256=sha, size_bytes=blobs.get(sha, 0)) for sha in sorted(linked | blobs.keys())]


def _bad_links(store: Store) -> Iterator[BadFile]:
    """Of the current release: a manifest that cannot be read, places at which the link itself is gone."""
    release = store.project.current
    if not release:
        return
    manifest = store.seen.manifest
    if manifest is None:
        yield BadFile(what="damaged", sha256="", paths=(f"{release}/manifest.json",), removed=False)
        return
    broken = store.broken_links(manifest)
    for entry in manifest.files:
        if entry.path in broken and entry.sha256 in store.seen.blobs:
            yield BadFile(what="missing", sha256=entry.sha256, paths=(f"{release}/{entry.path}",), removed=False)


def _places(store: Store, *, everything: bool) -> defaultdict[str, tuple[str, ...]]:
    """Where the project has a content."""
    current = store.project.current
    manifests = store.manifests() if everything else {current: store.seen.manifest} if store.seen.manifest else {}
    places: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for number, manifest in sorted(manifests.items()):
        for entry in manifest.files:
            places[entry.sha256] += (f"{number}/{entry.path}",)
    return places


def _batches(entries: Sequence[FileEntry]) -> Iterator[list[FileEntry]]:
    """What is hashed in one go: small files together, a large one by itself."""
    batch: list[FileEntry] = []
    size_bytes = 0
    for entry in entries:
        if entry.size_bytes >= _BATCH_BYTES:
            yield [entry]
            continue
        batch.append(entry)
        size_bytes += entry.size_bytes
        if size_bytes >= _BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
