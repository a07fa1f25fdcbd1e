"""``edgedeploy compare``: finds both sides of a comparison, wherever they come from, and has them compared on devices.

A side is the project as it is (``now``), as it was at a git revision (``git:REV``), or a bundle's folder. A recipe, and an
exporter, may follow: ``now@int8``, ``git:main@int8/tflite``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edgedeploy import __version__
from edgedeploy.bundle import BUNDLE_FILE, read_bundle
from edgedeploy.domain.contest import CompareReport
from edgedeploy.domain.events import Note, Sink, ignore
from edgedeploy.domain.project import DEFAULT_PATIENCE, Patience
from edgedeploy.errors import ExportError, MissingToolError, UsageError
from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
from edgedeploy.stages.contest import Opponents, contest
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.plan import PlannedRun, Selection
from edgedeploy.stages.run_result import Ready

_GIT_LIMIT_S = 600.0
_FORMS = "now, git:REVISION, or the folder of a bundle; @RECIPE or @RECIPE/EXPORTER may follow"


class SideOf(msgspec.Struct, frozen=True, kw_only=True):
    """What a side of a comparison means. ``place`` is the revision, or the folder."""

    text: str
    kind: Literal["now", "git", "bundle"]
    place: str = ""
    recipe: str = ""
    exporter: str = ""


def parse_side(text: str) -> SideOf:
    """Read a side as the user writes it.

    Raises:
        UsageError: it is none.
    """
    rest, _, chosen = text.rpartition("@") if "@" in text and not Path(text, BUNDLE_FILE).is_file() else (text, "", "")
    recipe, _, exporter = chosen.partition("/")
    rest = rest or "now"
    if rest == "now":
        return SideOf(text=text, kind="now", recipe=recipe, exporter=exporter)
    if rest.startswith("git:") and len(rest) > len("git:"):
        return SideOf(text=text, kind="git", place=rest.removeprefix("git:"), recipe=recipe, exporter=exporter)
    if Path(rest, BUNDLE_FILE).is_file():
        return SideOf(text=text, kind="bundle", place=rest, recipe=recipe, exporter=exporter)
    raise UsageError(f"{text!r} is nothing that can be compared", next_step=f"give {_FORMS}")


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """A project whose artifacts are compared on the devices of a target."""

    pipeline: Pipeline
    target: str
    models: tuple[str, ...] = ()
    jobs: int = DEFAULT_JOBS
    sink: Sink = ignore

    def run(
        self,
        base: str,
        candidate: str,
        rules: Rules,
        *,
        devices: Sequence[str] = (),
        patience: Patience = DEFAULT_PATIENCE,
    ) -> CompareReport:
        """Compare two sides.

        Raises:
            UsageError, ConfigError: the request makes no sense, or the sides have nothing in common.
            ExportError: one of them cannot be exported.
            DeviceUnavailableError: no device is reachable.
        """
        sides = parse_side(base), parse_side(candidate)
        fleet = self.pipeline.fleet(self.target, devices=devices, patience=patience, sink=self.sink)
        found = [self._ready(side) for side in sides]
        opponents = match(found[0], found[1], sides)
        for pair in opponents:
            if pair.base.prepared.artifact.sha256 == pair.candidate.prepared.artifact.sha256:
                label = pair.candidate.prepared.run.label
                self.sink(Note(text=f"{label}: both sides are the same file", level="warning"))
        contests = contest(fleet, opponents, rules, self.pipeline.cache, self.pipeline.signer())
        return CompareReport(edgedeploy=__version__, project=self.pipeline.project.name, target=self.target, comparisons=contests)

    def _ready(self, side: SideOf) -> tuple[Ready, ...]:
        if side.kind == "bundle":
            return self._of_bundle(side)
        if side.kind == "now":
            return self._exported(self.pipeline, side)
        with _revision(self.pipeline.project_file, side.place) as file:
            return self._exported(Pipeline.load(file, cache=self.pipeline.cache), side)

    def _exported(self, pipeline: Pipeline, side: SideOf) -> tuple[Ready, ...]:
        selection = Selection(
            models=self.models,
            recipes=(side.recipe,) if side.recipe else (),
            exporters=(side.exporter,) if side.exporter else (),
        )
        ready, failed = pipeline.ready(self.target, selection=selection, jobs=self.jobs, sink=self.sink)
        for run in failed:
            if run.error is not None:
                raise ExportError(
                    f"{side.text}: {run.error.what}", where=run.error.where, seen=run.error.seen, next_step=run.error.next_step
                )
        return ready

    def _of_bundle(self, side: SideOf) -> tuple[Ready, ...]:
        bundle, ready = read_bundle(Path(side.place), self.pipeline.cache)
        if bundle.target.name != self.target:
            raise UsageError(f"the bundle was exported for {bundle.target.name}, not for {self.target}", where=side.place)
        return tuple(item for item in ready if self._wanted(item, side))

    def _wanted(self, item: Ready, side: SideOf) -> bool:
        run = item.prepared.run
        return (
            (not self.models or run.model_name in self.models)
            and side.recipe in {"", run.recipe_name}
            and side.exporter in {"", run.lane.exporter, f"{run.lane.exporter}-{run.lane.backend}"}
        )


def match(base: Sequence[Ready], candidate: Sequence[Ready], sides: tuple[SideOf, SideOf]) -> tuple[Opponents, ...]:
    """Who is compared with whom: two that are alone; those of the same model, recipe and lane; or the only ones of a model.

    Raises:
        UsageError: nothing fits.
    """
    if len(base) == len(candidate) == 1:
        found = [(base[0], candidate[0])]
    else:
        found = _alike(base, candidate, lambda run: run.folder) or _alike(base, candidate, lambda run: run.model_name)
    if not found:
        has = [", ".join(item.prepared.run.folder for item in side) or "nothing" for side in (base, candidate)]
        raise UsageError(
            "it is not clear what is to be compared with what",
            seen=f"{sides[0].text}: {has[0]}; {sides[1].text}: {has[1]}",
            next_step="choose one of each: --model NAME, and @RECIPE/EXPORTER behind a side",
        )
    origins = {"base_origin": sides[0].text, "candidate_origin": sides[1].text}
    return tuple(Opponents(base=one, candidate=other, **origins) for one, other in found)


def _alike(base: Sequence[Ready], candidate: Sequence[Ready], key: Callable[[PlannedRun], str]) -> list[tuple[Ready, Ready]]:
    """Those of both sides with the same key; none where one side has two of the same."""
    mine, others = ({key(item.prepared.run): item for item in side} for side in (base, candidate))
    if len(mine) < len(base) or len(others) < len(candidate):
        return []
    return [(item, others[name]) for name, item in mine.items() if name in others]


@contextmanager
def _revision(project_file: Path, revision: str) -> Iterator[Path]:
    """The project file as it was at a revision, in a work tree of its own that is gone afterwards."""
    root = Path(_git(project_file.parent, "rev-parse", "--show-toplevel"))
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    folder = Path(tempfile.mkdtemp(prefix="edgedeploy-revision-"))
    try:
        _git(root, "worktree", "add", "--quiet", "--detach", str(folder / "tree"), commit)
        file = folder / "tree" / project_file.resolve().relative_to(root.resolve())
        if not file.is_file():
            raise UsageError(f"{revision} has no such project", where=str(project_file.resolve().relative_to(root.resolve())))
        yield file
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(root, "worktree", "prune")


def _git(folder: Path, *words: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise MissingToolError("git is not installed", next_step="install git, or compare with a bundle")
    done = subprocess.run([program, "-C", str(folder), *words], capture_output=True, timeout=_GIT_LIMIT_S, check=False, text=True)
    if done.returncode != 0:
        raise UsageError(
            f"git cannot give {words[-1].removesuffix('^{commit}')}",
            where=str(folder),
            seen=done.stderr.strip() or f"exit code {done.returncode}",
            next_step="name a commit, branch or tag that `git log` shows",
        )
    return done.stdout.strip()
