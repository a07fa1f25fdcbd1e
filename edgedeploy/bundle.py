"""A folder of exported artifacts that can be carried to another machine, and pushed from there without torch or an SDK."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from edgedeploy import __version__
from edgedeploy.cache import Cache
from edgedeploy.decoding import decode
from edgedeploy.deploy.signing import Signer
from edgedeploy.domain.artifact import ARTIFACT_FILE, Artifact
from edgedeploy.domain.release import Attestation, RunnerBundle
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Abi, Name, Target
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.stages.export import Prepared, read_artifact
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.push import Payload
from edgedeploy.stages.run_result import Ready

BUNDLE_SCHEMA = "edgedeploy.bundle/2"
BUNDLE_FILE = "bundle.json"
_NAMED = 5  # files of somebody else that are named


class BundledRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run and what verification on the exporting machine found; its files are in ``run.folder``.

    ``runner``, if one could be built there, lies in ``runners/<name>``; its ``local`` paths are relative to the bundle.
    """

    run: PlannedRun
    host: Verification
    runner: RunnerBundle | None = None
    runner_abi: Abi | None = None
    attestations: tuple[Attestation, ...] = ()


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """``bundle.json``. The target travels along, so that a project's own target needs no file on the other side."""

    schema: str
    edgedeploy: str
    project: Name  # it becomes a folder on devices
    target: Target
    runs: tuple[BundledRun, ...]


def check_output(folder: Path) -> None:
    """Whether a bundle may be written into ``folder``: it is new, empty, or holds a bundle and nothing else. Makes nothing.

    Raises:
        UsageError: it holds something that would be lost, which is named, or nothing can be made there.
    """
    if not folder.exists():
        nearest = next(place for place in folder.absolute().parents if place.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise UsageError("the output folder cannot be made", where=str(folder), seen=f"{nearest} is no writable folder")
        return
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            return
        foreign = sorted(_present(folder) - _accounted(folder))
    except (OSError, ConfigError, msgspec.DecodeError):
        raise UsageError(
            "the output folder holds something that is not a bundle", where=str(folder), next_step="give a new folder"
        ) from None
    if foreign:
        raise UsageError(
            "the output folder holds what is not part of the bundle in it, and would be lost",
            where=str(folder),
            seen=", ".join(foreign[:_NAMED]) + (f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""),
            next_step="move it away, or give a new folder",
        )


def write_bundle(folder: Path, project: str, target: Target, ready: Sequence[Ready], signer: Signer | None = None) -> None:
    """Write artifacts and ``bundle.json`` into ``folder``, which is made, or is empty, or holds a bundle that is replaced.

    Raises:
        UsageError: the folder holds something else, or cannot be written.
    """
    check_output(folder)
    place = folder.resolve()  # the folder that a link means, not the link
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            new = work / "new"
            new.mkdir()  # mkdtemp's own folder is closed to others
            for item in ready:
                _copy_artifact(item.prepared, new / item.prepared.run.folder)
            bundle = Bundle(
                schema=BUNDLE_SCHEMA,
                edgedeploy=__version__,
                project=project,
                target=target,
                runs=tuple(_bundled(item, new, project, signer) for item in ready),
            )
            (new / BUNDLE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(bundle)))
            _exchange(place, new, work / "old")
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UsageError("the output folder cannot be written", where=str(folder), seen=error.strerror or str(error)) from None


def read_bundle(folder: Path, cache: Cache) -> tuple[Bundle, tuple[Ready, ...]]:
    """Read a bundle back, and check every file against its digest.

    Raises:
        ConfigError: not a bundle, of another version, incomplete or altered.
    """
    bundle = describe_bundle(folder)
    return bundle, tuple(_ready(folder, item, cache) for item in bundle.runs)


def describe_bundle(folder: Path) -> Bundle:
    """What a bundle says of itself; its files are not looked at.

    Raises:
        ConfigError: not a bundle, of another version.
    """
    file = folder / BUNDLE_FILE
    try:
        bundle = decode(file.read_bytes(), Bundle)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            "not a bundle",
            where=str(file),
            seen=str(error),
            next_step="make one with `edgedeploy export --target NAME -o FOLDER`",
        ) from None
    if bundle.schema != BUNDLE_SCHEMA:
        raise ConfigError("a bundle of another version", where=str(file), seen=bundle.schema, next_step="export it again")
    return bundle


def _exchange(folder: Path, new: Path, old: Path) -> None:
    """Put ``new`` where ``folder`` is, and that to ``old``. On a failure the old one is back; a kill leaves both on the disk."""
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise


def _copy_artifact(prepared: Prepared, place: Path) -> None:
    for name in _artifact_files(prepared.artifact):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(prepared.folder) / name, place / name)


def _artifact_files(artifact: Artifact) -> tuple[str, ...]:
    entries = (*artifact.files, *artifact.golden_files())
    return (ARTIFACT_FILE, *(entry.path for entry in entries))


def _present(folder: Path) -> set[str]:
    """Every file, link and folder below, relative to ``folder``; links are not followed."""
    return {
        (Path(place) / name).relative_to(folder).as_posix()
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


def _accounted(folder: Path) -> set[str]:
    """What the bundle in ``folder`` consists of: its files, and the folders they are in."""
    bundle = decode((folder / BUNDLE_FILE).read_bytes(), Bundle)
    if bundle.schema != BUNDLE_SCHEMA:
        raise ConfigError("a bundle of another version", where=str(folder), seen=bundle.schema)
    files = {PurePosixPath(BUNDLE_FILE)}
    for item in bundle.runs:
        files |= {PurePosixPath(item.run.folder, name) for name in _artifact_files(read_artifact(folder / item.run.folder))}
        if item.runner is not None:
            files |= {PurePosixPath(file.local) for file in item.runner.files}
    return {str(place) for file in files for place in (file, *file.parents)}


def _bundled(item: Ready, folder: Path, project: str, signer: Signer | None) -> BundledRun:
    runner = item.runner
    attestations: tuple[Attestation, ...] = ()
    if signer is not None and runner is not None:
        attestations = Payload(prepared=item.prepared, bundle=runner).attested(project, signer)
    if runner is not None:
        files = []
        for file in runner.files:
            place = f"runners/{runner.name}/{file.entry.path}"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.local, folder / place)
            files.append(msgspec.structs.replace(file, local=place))
        runner = msgspec.structs.replace(runner, files=tuple(files))
    return BundledRun(run=item.prepared.run, host=item.host, runner=runner, runner_abi=item.runner_abi, attestations=attestations)


def _ready(folder: Path, item: BundledRun, cache: Cache) -> Ready:
    place = folder / item.run.folder
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ConfigError("a path that leaves the bundle", where=str(folder / BUNDLE_FILE), seen=item.run.folder)
    artifact = read_artifact(place)
    for entry in (*artifact.files, *artifact.golden_files()):
        _check(place, place / entry.path, entry.sha256, cache)
    runner = item.runner
    if runner is not None:
        for file in runner.files:
            _check(folder, folder / file.local, file.entry.sha256, cache)
        files = tuple(msgspec.structs.replace(file, local=str((folder / file.local).absolute())) for file in runner.files)
        runner = msgspec.structs.replace(runner, files=files)
    prepared = Prepared(run=item.run, artifact=artifact, folder=str(place.absolute()), cached=True)
    return Ready(prepared=prepared, host=item.host, runner=runner, runner_abi=item.runner_abi, attestations=item.attestations)


def _check(inside: Path, file: Path, sha256: str, cache: Cache) -> None:
    if not file.resolve().is_relative_to(inside.resolve()) or not file.is_file() or cache.sha256(file) != sha256:
        raise ConfigError(
            "a file of the bundle is missing or was altered",
            where=str(file),
            seen=f"expected sha256 {sha256}",
            next_step="export it again",
        )
