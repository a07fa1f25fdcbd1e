"""``edgedeploy compare``: finds both sides of a comparison, wherever they come from, and has them compared on devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedeploy import __version__
from edgedeploy.baselines import artifacts_of, read_baselines
from edgedeploy.bundle import read_bundle
from edgedeploy.comparing.sides import SideOf, match, parse_side
from edgedeploy.domain.contest import CompareReport, Contest
from edgedeploy.domain.events import Note, Sink, ignore
from edgedeploy.domain.project import DEFAULT_PATIENCE, Patience
from edgedeploy.errors import ExportError, MissingToolError, UsageError
from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
from edgedeploy.revision import at_revision, require_own_code
from edgedeploy.stages.contest import Opponents, contest
from edgedeploy.stages.export import files_read
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.plan import Selection
from edgedeploy.stages.run_result import Ready


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
        candidates = self._ready(sides[1], ())
        opponents = match(self._ready(sides[0], candidates), candidates, sides)
        for pair in opponents:
            if pair.base.prepared.artifact.sha256 == pair.candidate.prepared.artifact.sha256:
                label = pair.candidate.prepared.run.label
                self.sink(Note(text=f"{label}: both sides are the same file", level="warning"))
        return self._report(contest(fleet, opponents, rules, self.pipeline.cache, self.pipeline.signer()))

    def gate(self, rules: Rules, *, devices: Sequence[str] = (), patience: Patience = DEFAULT_PATIENCE) -> CompareReport:
        """Compare what the project gates with its baselines, each run by its own bounds.

        Raises:
            UsageError, ConfigError: nothing is gated, or has no baseline.
            ExportError: something cannot be exported.
            DeviceUnavailableError: no device is reachable.
        """
        fleet = self.pipeline.fleet(self.target, devices=devices, patience=patience, sink=self.sink)
        now, baseline = parse_side("now"), parse_side("baseline")
        gated = [item for item in self._ready(now, ()) if item.prepared.run.gate.bounds]
        if not gated:
            raise UsageError(
                f"nothing is gated on {self.target}",
                where=str(self.pipeline.project_file),
                next_step="say what is tolerated: gate = { latency_p50_percent = 3 } in its [[deploy]]",
            )
        opponents = [
            Opponents(
                base=base,
                candidate=item,
                base_origin=baseline.text,
                candidate_origin=now.text,
                bounds=item.prepared.run.gate.bounds,
            )
            for base, item in zip(self._ready(baseline, gated), gated, strict=True)
        ]
        return self._report(contest(fleet, opponents, rules, self.pipeline.cache, self.pipeline.signer()))

    def _report(self, contests: tuple[Contest, ...]) -> CompareReport:
        return CompareReport(edgedeploy=__version__, project=self.pipeline.project.name, target=self.target, comparisons=contests)

    def _ready(self, side: SideOf, others: Sequence[Ready]) -> tuple[Ready, ...]:
        """What a side consists of; ``others`` is the other one, as far as it is known."""
        if side.kind == "bundle":
            return self._of_bundle(side)
        if side.kind == "now":
            return self._exported(self.pipeline, side)
        if side.kind == "baseline":
            return self._of_baselines(side, others)
        return self._at(side.place, side)

    def _at(self, revision: str, side: SideOf) -> tuple[Ready, ...]:
        with at_revision(self.pipeline.project_file, revision, self.pipeline.cache) as file:
            ready = self._exported(Pipeline.load(file, cache=self.pipeline.cache), side)
            read = {path for item in ready for path in files_read(item.prepared.run, file, self.pipeline.cache)}
            require_own_code(self.pipeline.project_file, revision, read)
            return ready

    def _of_baselines(self, side: SideOf, others: Sequence[Ready]) -> tuple[Ready, ...]:
        if not others:
            raise UsageError("baselines are what is compared with", next_step="edgedeploy compare baseline CANDIDATE")
        baselines = read_baselines(self.pipeline.project_file, self.target)
        wanted = [item for item in others if self._wanted(item, side)] or self._exported(self.pipeline, side)
        return artifacts_of(baselines, wanted, self.pipeline.cache, lambda revision: self._at(revision, side), self.sink)

    def _exported(self, pipeline: Pipeline, side: SideOf) -> tuple[Ready, ...]:
        recipes, exporters = ((word,) if word else () for word in (side.recipe, side.exporter))
        return self.exported(pipeline, Selection(models=self.models, recipes=recipes, exporters=exporters), side.text)

    def exported(self, pipeline: Pipeline, selection: Selection, name: str) -> tuple[Ready, ...]:
        """What a project exports; ``name`` is what the user calls it.

        Of the candidates of an automatic recipe one is enough.

        Raises:
            MissingToolError: an SDK that it takes is not installed.
            ExportError: something of it cannot be exported.
        """
        ready, failed = pipeline.ready(self.target, selection=selection, jobs=self.jobs, sink=self.sink)
        done = [item.prepared.run for item in ready]
        settled = {(run.model_name, run.recipe_name) for run in done if run.automatic}
        for result in failed:
            if (error := result.error) is not None and (result.model, result.recipe) not in settled:
                kind = MissingToolError if error.exit_code == MissingToolError.exit_code else ExportError
                raise kind(f"{name}: {error.what}", where=error.where, seen=error.seen, next_step=error.next_step)
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
