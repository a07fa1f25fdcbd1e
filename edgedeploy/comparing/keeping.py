"""Comparisons go into the history, beside the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgedeploy.domain.contest import CompareReport
from edgedeploy.domain.events import Note, Sink
from edgedeploy.errors import EdgedeployError

if TYPE_CHECKING:
    from edgedeploy.results.store import ResultStore


def kept(report: CompareReport, verb: Literal["compare", "gate"], results: ResultStore, sink: Sink) -> CompareReport:
    """The same report, kept; where that fails, it is told all the same."""
    from edgedeploy.results.comparisons import keep

    try:
        keep(report, verb, results.comparisons)
    except EdgedeployError as error:
        sink(Note(text=f"not kept in the history: {error}", level="warning"))
    return report
