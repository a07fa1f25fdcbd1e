"""What a project's past consists of: the contract of ``edgedeploy history --json``."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.domain.contest import Contest
from edgedeploy.domain.imported import Imported
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.series import Series

HISTORY_SCHEMA = "edgedeploy.history/1"


class PastComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison on one device, as it was told. In a list of them, ``contest.measured`` is empty: it is megabytes."""

    id: str
    created_at: str
    project: str
    target: str
    verb: Literal["compare", "gate"]
    contest: Contest

    @property
    def model(self) -> str:
        """The candidate's."""
        return self.contest.candidate.model

    @property
    def device(self) -> str:
        """Where it was."""
        return self.contest.device


class HistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """Runs, comparisons and what was imported, newest first, and the series that the runs belong to.

    A series has its runs of before as well, up to those that are looked at. What was imported is in none.
    """

    schema: str = HISTORY_SCHEMA
    runs: tuple[RunResult, ...]
    series: tuple[Series, ...] = ()
    comparisons: tuple[PastComparison, ...] = ()
    imported: tuple[Imported, ...] = ()
