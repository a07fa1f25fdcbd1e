"""What the past says of a run: only ever a warning. Pass and fail come from budgets and comparisons, never from here."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.domain.mode import Mode
from edgedeploy.domain.target import Lane


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """What the past says of ``run``, in words, and in figures where there are some.

    ``new series``: the environment is not that of the run before. ``unstable``: another session of the same artifact in the same
    environment, ``other``, differs by more than 5 %. ``outside``: the result is not between what its series let one expect.
    ``step`` and ``drift``: the series went to another level at this run, or goes there little by little from this run on.

    ``before_ns`` and ``after_ns`` are median latencies: of ``other`` and this run; the nearer bound and this run; the two levels.
    """

    kind: Literal["new series", "unstable", "outside", "step", "drift"]
    run: str
    text: str
    other: str = ""
    before_ns: int | None = None
    after_ns: int | None = None

    @property
    def is_warning(self) -> bool:
        """A new series is no reason to worry."""
        return self.kind != "new series"


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements that may be put beside one another: of one model, recipe, lane and mode, on one device in one environment.

    ``environment`` names what belongs to it; what the device did not tell is left out. ``runs`` are ids, oldest first, ``p50_ns``
    the median of each run's processes' medians. ``level`` is the step or drift of all of them, None where they are steady.
    """

    model: str
    recipe: str
    lane: Lane
    target: str
    device: str
    mode: Mode = "single"
    environment: dict[str, str]
    runs: tuple[str, ...]
    p50_ns: tuple[int, ...]
    remarks: tuple[Remark, ...] = ()
    level: Remark | None = None

    @property
    def warnings(self) -> tuple[Remark, ...]:
        """What a user should look at, oldest first; the change of level last."""
        found = tuple(remark for remark in self.remarks if remark.is_warning)
        return found if self.level is None else (*found, self.level)
