"""A folder of exported artifacts that can be carried to another machine, and pushed from there without torch or an SDK."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy import __version__
from edgedeploy.domain.target import Target
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.stages.deliver import Ready
from edgedeploy.stages.export import ARTIFACT_FILE, Prepared, read_artifact
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.verify import HostVerification

BUNDLE_SCHEMA = "edgedeploy.bundle/1"
BUNDLE_FILE = "bundle.json"


class BundledRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run and what verification on the exporting machine found; its files are in ``run.folder``."""

    run: PlannedRun
    host: HostVerification


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """``bundle.json``. The target travels along, so that a project's own target needs no file on the other side."""

    schema: str
    edgedeploy: str
    project: str
    target: Target
    runs: tuple[BundledRun, ...]


def write_bundle(folder: Path, project: str, target: Target, ready: Sequence[Ready]) -> None:
    """Write artifacts and ``bundle.json`` into ``folder``, which is made, or is empty, or holds a bundle that is replaced.

    Raises:
        UsageError: the folder holds something else, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / BUNDLE_FILE).is_file())):
        raise UsageError(
            "the output folder holds something that is not a bundle", where=str(folder), next_step="give a new folder"
        )
    new = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        for item in ready:
            shutil.copytree(item.prepared.folder, new / item.prepared.run.folder)
        bundle = Bundle(
            schema=BUNDLE_SCHEMA,
            edgedeploy=__version__,
            project=project,
            target=target,
            runs=tuple(BundledRun(run=item.prepared.run, host=item.host) for item in ready),
        )
        (new / BUNDLE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(bundle)))
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    except OSError as error:
        raise UsageError("the output folder cannot be written", where=str(folder), seen=error.strerror or str(error)) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def read_bundle(folder: Path) -> tuple[Bundle, tuple[Ready, ...]]:
    """Read a bundle back, and check every file against its digest.

    Raises:
        ConfigError: not a bundle, of another version, incomplete or altered.
    """
    file = folder / BUNDLE_FILE
    try:
        bundle = msgspec.json.decode(file.read_bytes(), type=Bundle)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            "not a bundle",
            where=str(file),
            seen=str(error),
            next_step="make one with `edgedeploy export --target NAME -o FOLDER`",
        ) from None
    if bundle.schema != BUNDLE_SCHEMA:
        raise ConfigError("a bundle of another version", where=str(file), seen=bundle.schema, next_step="export it again")
    return bundle, tuple(_ready(folder, item) for item in bundle.runs)


def _ready(folder: Path, item: BundledRun) -> Ready:
    from edgedeploy.deploy.digest import file_sha256

    place = folder / item.run.folder
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ConfigError("a path that leaves the bundle", where=str(folder / BUNDLE_FILE), seen=item.run.folder)
    artifact = read_artifact(place)
    for entry in (*artifact.files, *artifact.golden.inputs, *artifact.golden.references):
        path = place / entry.path
        if not path.resolve().is_relative_to(place.resolve()) or not path.is_file() or file_sha256(path) != entry.sha256:
            raise ConfigError(
                "a file of the bundle is missing or was altered",
                where=str(path),
                seen=f"expected sha256 {entry.sha256}, as {ARTIFACT_FILE} says",
                next_step="export it again",
            )
    prepared = Prepared(run=item.run, artifact=artifact, folder=str(place), cached=True)
    return Ready(prepared=prepared, host=item.host)
