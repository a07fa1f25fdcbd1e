"""``edgedeploy compare``: finds both sides of a comparison, wherever they come from, and has them compared on devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgedeploy import __version__
from edgedeploy.comparing.bundles import of_bundle
from edgedeploy.comparing.keeping import kept
from edgedeploy.comparing.sides import SideOf, against_release, match, parse_side, require_no_release, warn_of_same
from edgedeploy.domain.contest import CompareReport, Contest
from edgedeploy.domain.events import Sink, ignore
from edgedeploy.domain.project import DEFAULT_PATIENCE, Patience
from edgedeploy.errors import UsageError
from edgedeploy.pipeline import DEFAULT_JOBS, Pipeline
from edgedeploy.stages.contest import contest
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.plan import Selection
from edgedeploy.stages.run_result import Ready

if TYPE_CHECKING:
    from edgedeploy.results.store import ResultStore


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
        sides: tuple[SideOf, SideOf],
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
        require_no_release(sides[1])
        results = self.pipeline.results()  # opened first: minutes of work need a place to go to
        fleet = self.pipeline.fleet(self.target, devices=devices, patience=patience, sink=self.sink)
        candidates = self._ready(sides[1], ())
        if sides[0].kind == "release":
            opponents = against_release(candidates, sides)
        else:
            opponents = match(self._ready(sides[0], candidates), candidates, sides)
        warn_of_same(opponents, self.sink)
        return self._report("compare", contest(fleet, opponents, rules, self.pipeline.cache, self.pipeline.signer()), results)

    def gate(self, rules: Rules, *, devices: Sequence[str] = (), patience: Patience = DEFAULT_PATIENCE) -> CompareReport:
        """Compare what the project gates with its baselines, each run by its own bounds.

        Raises:
            UsageError, ConfigError: nothing is gated, or has no baseline.
            ExportError: something cannot be exported.
            DeviceUnavailableError: no device is reachable.
        """
        results = self.pipeline.results()
        fleet = self.pipeline.fleet(self.target, devices=devices, patience=patience, sink=self.sink)
        candidates = [item for item in self._exported(parse_side("now")) if item.prepared.run.gate.asks]
        if not candidates:
            raise UsageError(
                f"nothing is gated on {self.target}",
                where=str(self.pipeline.project_file),
                next_step="say what is tolerated: gate = { latency_p50_percent = 3 } in its [[deploy]]",
            )
        archive = self.pipeline.archive(self.target, selection=self._selection(), jobs=self.jobs, sink=self.sink)
        opponents = [archive.opponents(item) for item in candidates]
        return self._report("gate", contest(fleet, opponents, rules, self.pipeline.cache, self.pipeline.signer()), results)

    def _report(self, verb: Literal["compare", "gate"], contests: tuple[Contest, ...], results: ResultStore) -> CompareReport:
        project = self.pipeline.project.name
        report = CompareReport(edgedeploy=__version__, project=project, target=self.target, comparisons=contests)
        return kept(report, verb, results, self.sink)

    def _ready(self, side: SideOf, others: Sequence[Ready]) -> tuple[Ready, ...]:
        """What a side consists of; ``others`` is the other one, as far as it is known."""
        selection = self._selection(side)
        if side.kind == "bundle":
            return of_bundle(side, self.target, self.models, self.pipeline.cache)
        if side.kind == "baseline":
            if not others:
                raise UsageError("baselines are what is compared with", next_step="edgedeploy compare baseline CANDIDATE")
            archive = self.pipeline.archive(self.target, selection=selection, jobs=self.jobs, sink=self.sink)
            wanted = [item for item in others if side.wants(item.prepared.run)] or self._exported(side)
            return tuple(archive.baseline_of(item) for item in wanted)
        if side.kind == "git":
            return self.pipeline.exported_at(
                side.place, self.target, selection=selection, name=side.text, jobs=self.jobs, sink=self.sink
            )
        return self._exported(side)

    def _exported(self, side: SideOf) -> tuple[Ready, ...]:
        return self.pipeline.exported(
            self.target, selection=self._selection(side), name=side.text, jobs=self.jobs, sink=self.sink
        )

    def _selection(self, side: SideOf | None = None) -> Selection:
        recipes, exporters = ((word,) if word else () for word in ((side.recipe, side.exporter) if side else ("", "")))
        return Selection(models=self.models, recipes=recipes, exporters=exporters)
