"""What the history says of runs: the series around them, and warnings about new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from edgedeploy.domain.mode import Mode
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.series import Series
from edgedeploy.results.series import RUNS_LOOKED_AT, remarks_on, series_of, subject


class Past(Protocol):
    """The runs of before, as :meth:`edgedeploy.results.store.ResultStore.runs` has them."""

    def runs(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        target: str | None = None,
        device: str | None = None,
        lane: str | None = None,
        mode: Mode | None = None,
        limit: int = 50,
    ) -> tuple[RunResult, ...]:
        """Runs, newest first."""


def series_around(runs: Sequence[RunResult], past: Past) -> tuple[Series, ...]:
    """All series of what was run, with what came before.

    Raises:
        UsageError: the history cannot be read.
    """
    subjects = {subject(run): run for run in runs if run.latency_ns is not None}
    return series_of([one for run in subjects.values() for one in _like(run, past)])


def looked_back(runs: Sequence[RunResult], past: Past) -> tuple[RunResult, ...]:
    """Runs that have just been measured, each with what the history says of it.

    Raises:
        UsageError: the history cannot be read.
    """
    return tuple(replace(run, remarks=remarks_on(run, _like(run, past))) if run.latency_ns else run for run in runs)


def _like(run: RunResult, past: Past) -> list[RunResult]:
    found = past.runs(
        project=run.project,
        model=run.model,
        target=run.target,
        device=run.device,
        lane=run.lane.id,
        mode=run.mode,
        limit=RUNS_LOOKED_AT,
    )
    return [one for one in found if subject(one) == subject(run)]
