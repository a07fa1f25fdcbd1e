"""Prepare: planned runs become artifacts that were checked on this machine, in several worker processes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgedeploy.cache import Cache
from edgedeploy.domain.events import Note, Sink
from edgedeploy.domain.result import RunResult, Verification
from edgedeploy.domain.target import Target
from edgedeploy.errors import EdgedeployError
from edgedeploy.fanout import at_once
from edgedeploy.host import available_memory_bytes
from edgedeploy.prediction import jobs_within
from edgedeploy.stages.delegation import require_delegated
from edgedeploy.stages.export import Prepared, export
from edgedeploy.stages.host_run import Workplace
from edgedeploy.stages.plan import PlannedRun, missing_sdk, require_sdks, worker_groups
from edgedeploy.stages.preflight import export_peak_bytes
from edgedeploy.stages.run_result import Ready, failed_run, with_artifact
from edgedeploy.stages.verify import require, verify
from edgedeploy.worker.client import Workers


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How runs of a project are prepared for a target. ``full_delegation`` refuses what leaves an operator to the processor."""

    project: str
    project_file: Path
    target: Target
    cache: Cache
    jobs: int
    sink: Sink
    full_delegation: bool = False

    def of(self, runs: Sequence[PlannedRun]) -> tuple[tuple[Ready, ...], tuple[RunResult, ...]]:
        """Export and verify all runs, ``jobs`` worker processes at once; those that fail come back as results.

        Raises:
            MissingToolError: an SDK is not installed.
        """
        lacking = {run.folder: self._failed(run, error) for run in runs if (error := missing_sdk(run.lane))}
        possible = [run for run in runs if run.folder not in lacking]
        require_sdks(possible)
        workers = Workers()
        workplace = Workplace(
            target=self.target, project_file=self.project_file, cache=self.cache, workers=workers, sink=self.sink
        )

        def prepare(group: Sequence[PlannedRun]) -> dict[str, Ready | RunResult]:
            return {
                run.folder: self._verified(run, outcome, workplace)
                for run, outcome in export(group, self.target, self.project_file, self.cache, workers, self.sink)
            }

        groups = worker_groups(possible, self.jobs)
        done = at_once([partial(prepare, group) for group in groups], limit=self._within_memory(groups), stop=workers.stop)
        by_folder = lacking | {folder: item for part in done for folder, item in part.items()}
        items = [by_folder[run.folder] for run in runs]
        ready = tuple(item for item in items if isinstance(item, Ready))
        return ready, tuple(item for item in items if isinstance(item, RunResult))

    def _within_memory(self, groups: Sequence[Sequence[PlannedRun]]) -> int:
        """How many groups at once the memory that is free now has room for, by what is predicted; one is always tried.

        What `edgedeploy plan` has not counted, and what is cached, is taken to need nothing.
        """
        free_bytes = available_memory_bytes()
        if self.jobs == 1 or len(groups) == 1 or free_bytes is None:
            return self.jobs
        peaks = [export_peak_bytes(group, self.target, self.project_file, self.cache) for group in groups]
        limit = jobs_within(free_bytes, peaks, self.jobs)
        if limit < self.jobs:
            needed = f"an export may take {max(peaks) / 1e9:.1f} GB, and {free_bytes / 1e9:.1f} GB are free"
            self.sink(Note(text=f"{limit} at once instead of {self.jobs}: {needed}"))
        return limit

    def _verified(self, run: PlannedRun, outcome: Prepared | EdgedeployError, workplace: Workplace) -> Ready | RunResult:
        if isinstance(outcome, EdgedeployError):
            return self._failed(run, outcome)
        found = Verification()
        try:
            found = verify(outcome, workplace)
            require(found, outcome, self.target)
            if self.full_delegation:
                require_delegated(outcome)
        except EdgedeployError as error:
            return with_artifact(self._failed(run, error), Ready(prepared=outcome, host=found))
        return Ready(prepared=outcome, host=found)

    def _failed(self, run: PlannedRun, error: EdgedeployError) -> RunResult:
        return failed_run(run, self.project, self.target.name, "", error)
