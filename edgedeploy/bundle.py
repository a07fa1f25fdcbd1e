"""A folder of exported artifacts that can be carried to another machine, and pushed from there without torch or an SDK."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy import __version__
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, Target
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.stages.deliver import Ready
from edgedeploy.stages.export import Prepared, read_artifact
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.verify import HostVerification

BUNDLE_SCHEMA = "edgedeploy.bundle/1"
BUNDLE_FILE = "bundle.json"


class BundledRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run and what verification on the exporting machine found; its files are in ``run.folder``.

    ``runner``, if one could be built there, lies in ``runners/<name>``; its ``local`` paths are relative to the bundle.
    """

    run: PlannedRun
    host: HostVerification
    runner: RunnerBundle | None = None
    runner_abi: Abi | None = None


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
            runs=tuple(_bundled(item, new) for item in ready),
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


def _bundled(item: Ready, folder: Path) -> BundledRun:
    runner = item.runner
    if runner is not None:
        files = []
        for file in runner.files:
            place = f"runners/{runner.name}/{file.entry.path}"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.local, folder / place)
            files.append(msgspec.structs.replace(file, local=place))
        runner = msgspec.structs.replace(runner, files=tuple(files))
    return BundledRun(run=item.prepared.run, host=item.host, runner=runner, runner_abi=item.runner_abi)


def _ready(folder: Path, item: BundledRun) -> Ready:
    place = folder / item.run.folder
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ConfigError("a path that leaves the bundle", where=str(folder / BUNDLE_FILE), seen=item.run.folder)
    artifact = read_artifact(place)
    for entry in (*artifact.files, *artifact.golden.inputs, *artifact.golden.references):
        _check(place, place / entry.path, entry.sha256)
    runner = item.runner
    if runner is not None:
        for file in runner.files:
            _check(folder, folder / file.local, file.entry.sha256)
        files = tuple(msgspec.structs.replace(file, local=str((folder / file.local).absolute())) for file in runner.files)
        runner = msgspec.structs.replace(runner, files=files)
    prepared = Prepared(run=item.run, artifact=artifact, folder=str(place.absolute()), cached=True)
    return Ready(prepared=prepared, host=item.host, runner=runner, runner_abi=item.runner_abi)


def _check(inside: Path, file: Path, sha256: str) -> None:
    if not file.resolve().is_relative_to(inside.resolve()) or not file.is_file() or file_sha256(file) != sha256:
        raise ConfigError(
            "a file of the bundle is missing or was altered",
            where=str(file),
            seen=f"expected sha256 {sha256}",
            next_step="export it again",
        )
