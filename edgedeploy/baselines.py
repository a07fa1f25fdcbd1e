"""``baselines/<target>.json`` beside the project file: set by hand, committed, reviewed; never moved by a measurement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from edgedeploy.cache import Cache, write_whole
from edgedeploy.decoding import decode
from edgedeploy.deploy.lease_keeper import this_user
from edgedeploy.domain.artifact import ARTIFACT_FILE
from edgedeploy.domain.baseline import Baseline, Baselines
from edgedeploy.domain.events import Note, Sink, ignore
from edgedeploy.domain.result import RunResult
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.stages.export import Prepared, whole_artifact
from edgedeploy.stages.ring import Opponents
from edgedeploy.stages.run_result import Ready, error_of

Exported = tuple[tuple[Ready, ...], tuple[RunResult, ...]]
"""What was exported and verified, and what failed."""
FOLDER = "baselines"
_SHORT = 12


def file_of(project_file: Path, target: str) -> Path:
    """Where the baselines of a target are."""
    return project_file.parent / FOLDER / f"{target}.json"


def read_baselines(project_file: Path, target: str) -> Baselines:
    """The baselines of a target; none where there is no file.

    Raises:
        ConfigError: the file says something that is not allowed.
    """
    file = file_of(project_file, target)
    try:
        found = decode(file.read_bytes(), Baselines)
    except FileNotFoundError:
        return Baselines(target=target)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            "these baselines cannot be read", where=str(file), seen=str(error), next_step="take the file of the last commit"
        ) from None
    if found.target != target:
        raise ConfigError("baselines of another target", where=f"{file}: target", seen=found.target)
    return found


def set_baselines(project_file: Path, target: str, ready: Sequence[Ready], revision: str) -> Baselines:
    """Make what is given the baselines of its models, recipes and lanes; those of others stay.

    Raises:
        ConfigError: the file that is there cannot be read.
        UsageError: it cannot be written.
    """
    before = {baseline.folder: baseline for baseline in read_baselines(project_file, target).baselines}
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    for item in ready:
        run, artifact = item.prepared.run, item.prepared.artifact
        known = before.get(run.folder)
        if known is not None and known.sha256 == artifact.sha256 and revision in {"", known.revision}:
            continue  # nothing to review: the commit that is known still makes it
        before[run.folder] = Baseline(
            model=run.model_name,
            recipe=run.recipe_name,
            lane=run.lane.id,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
            revision=revision,
            set_at=now,
            set_by=this_user(),
        )
    found = Baselines(target=target, baselines=tuple(before[folder] for folder in sorted(before)))
    file = file_of(project_file, target)
    try:
        file.parent.mkdir(exist_ok=True)
        write_whole(file, msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    except OSError as error:
        raise UsageError("the baselines cannot be written", where=str(file), seen=error.strerror or str(error)) from None
    return found


class Archive:
    """The artifacts that baselines mean: from this machine's cache, or exported again, each revision once.

    ``exported_at`` exports the models of these names at a revision, as far as they are wanted.
    """

    def __init__(
        self, baselines: Baselines, cache: Cache, exported_at: Callable[[str, Collection[str]], Exported], sink: Sink = ignore
    ) -> None:
        self.target = baselines.target
        self._by_folder = {baseline.folder: baseline for baseline in baselines.baselines}
        self._cache = cache
        self._exported_at = exported_at
        self._sink = sink
        self._exported: dict[str, dict[str, Ready | RunResult]] = {}

    def baseline_of(self, item: Ready) -> Ready:
        """The baseline of a run, which is itself where nothing changed.

        Raises:
            UsageError: there is none, or no way to it.
            ExportError, MissingToolError: its revision cannot be exported any more.
        """
        run = item.prepared.run
        baseline = self._by_folder.get(run.folder)
        if baseline is None:
            raise UsageError(
                f"{run.label} has no baseline on {self.target}",
                seen=", ".join(self._by_folder) or "there is no baseline at all",
                next_step=f"edgedeploy baseline set --target {self.target}",
            )
        if item.prepared.artifact.sha256 == baseline.sha256:
            return item
        if (prepared := _cached(item.prepared, baseline, self._cache)) is not None:
            return msgspec.structs.replace(item, prepared=prepared, attestations=())
        if baseline.revision:
            return _again(baseline, self._at(baseline.revision), self._sink)
        raise UsageError(
            f"the baseline of {run.label} is not on this machine, and was set from files that no commit has",
            seen=f"sha256 {baseline.sha256}",
            next_step="compare with a bundle of it, or set the baseline anew from a clean work tree",
        )

    def opponents(self, item: Ready) -> Opponents:
        """A run and its baseline, with what the run's gate asks."""
        gate = item.prepared.run.gate
        return Opponents(
            base=self.baseline_of(item),
            candidate=item,
            base_origin="baseline",
            candidate_origin="now",
            bounds=gate.bounds,
            size=gate.size,
        )

    def _at(self, revision: str) -> dict[str, Ready | RunResult]:
        if revision not in self._exported:
            models = sorted({one.model for one in self._by_folder.values() if one.revision == revision})
            ready, failed = self._exported_at(revision, models)
            self._exported[revision] = {f"{one.model}/{one.recipe}/{one.lane.id}": one for one in failed} | {
                one.prepared.run.folder: one for one in ready
            }
        return self._exported[revision]


def _cached(prepared: Prepared, baseline: Baseline, cache: Cache) -> Prepared | None:
    for file in (cache.root / "exports").glob(f"*/{ARTIFACT_FILE}"):
        if baseline.sha256.encode() not in file.read_bytes():
            continue
        artifact = whole_artifact(file.parent, cache)
        if artifact is not None and artifact.sha256 == baseline.sha256 and artifact.lane.id == baseline.lane:
            return msgspec.structs.replace(prepared, artifact=artifact, folder=str(file.parent), cached=True)
    return None


def _again(baseline: Baseline, exported: dict[str, Ready | RunResult], sink: Sink) -> Ready:
    item = exported.get(baseline.folder)
    if isinstance(item, RunResult) and item.error is not None:
        raise error_of(item.error, "baseline")
    if not isinstance(item, Ready):
        raise UsageError(
            f"the baseline's revision does not export {baseline.folder}",
            seen=f"{baseline.revision[:_SHORT]} has {', '.join(exported) or 'nothing'}",
            next_step="set the baseline anew",
        )
    if item.prepared.artifact.sha256 != baseline.sha256:
        what = f"{baseline.folder}: {baseline.revision[:_SHORT]}, exported again, is not byte for byte the baseline"
        why = "another version of an SDK makes another file; it is compared with all the same"
        sink(Note(text=f"{what} ({why})", level="warning"))
    return item
