"""The document of ``edgedeploy plan`` and of every ``--dry-run``: what would be done, and what would come of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.domain.failure import Failure
from edgedeploy.domain.profile import WeightKind
from edgedeploy.domain.target import Lane

PLAN_SCHEMA = "edgedeploy.plan/2"

Bound = Literal["compute", "memory"]


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """The least time one call can take: no core multiplies faster than its peak, no weight arrives faster than the memory.

    Real runs take longer. A time is None where the target file lacks a figure, and ``unknown`` says which. ``bound`` is what
    takes longer, if both are known.
    """

    compute_ns: int | None = None
    memory_ns: int | None = None
    bound: Bound | None = None
    unknown: tuple[str, ...] = ()

    @property
    def least_ns(self) -> int | None:
        """The larger of the times that are known."""
        known = [time for time in (self.compute_ns, self.memory_ns) if time is not None]
        return max(known) if known else None


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What an export by this lane would be.

    ``device_bytes`` is the peak memory of the process that runs it with the whole file in memory, ``device_least_bytes``
    without: a file is mapped, and a runtime may let go of what it has copied. ``storage_bytes`` is what it takes on the
    device: the file and the golden inputs; the runner, once per device, is not in it. ``export_peak_bytes`` is the peak of
    the process that exports on this machine. docs/plan.md says how well these have held.
    """

    size_bytes: int
    device_bytes: int
    device_least_bytes: int
    storage_bytes: int
    export_peak_bytes: int
    roofline: Roofline


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stands in the way. ``certain``: the run cannot succeed as things are; else it may.

    ``operator`` is PyTorch's name of an operator that a lane does not have, ``where`` the line of the user's Python, the input
    or the weight that it is about; empty where there is none.
    """

    what: str
    operator: str = ""
    where: str = ""
    next_step: str = ""
    certain: bool = True


Fits = Literal["yes", "no", "doubtful", "unknown"]


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A model in short; ``recipe`` tells two forms of one model apart that different compress steps give.

    All but the name is None where nobody has counted yet: ``error`` says what stood in the way.
    """

    model: str
    compressed_by: tuple[str, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    operators: int | None = None
    weight_bytes: int | None = None
    weight_bytes_by_kind: dict[WeightKind, int] | None = None
    activation_bytes: int | None = None
    state_bytes: int | None = None
    error: Failure | None = None


class PlanLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run: a model by a recipe through a lane.

    ``size_bytes`` is the file's, when it is in the cache. ``fits`` is "no" with a certain obstacle, "doubtful" with another,
    "unknown" without a prediction. What is ``gated`` is compared with its baseline when it is pushed; without one (no
    ``baseline_sha256``) it is not pushed.
    """

    model: str
    recipe: str
    lane: Lane
    export_cached: bool
    verify_cached: bool
    size_bytes: int | None
    runtimes: tuple[str, ...]
    predicted: Prediction | None = None
    obstacles: tuple[Obstacle, ...] = ()
    fits: Fits = "unknown"
    gated: bool = False
    baseline_sha256: str = ""


class PlanReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the project would do on a target. ``host_memory_bytes`` is free on this machine now; None: not known."""

    schema: str = PLAN_SCHEMA
    edgedeploy: str
    project: str
    target: str
    host_memory_bytes: int | None
    models: tuple[ModelFacts, ...]
    runs: tuple[PlanLine, ...]
