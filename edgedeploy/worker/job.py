"""What the pipeline and a worker process say to each other: one job in, lines of messages out."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import Artifact, Golden, TensorSpec
from edgedeploy.domain.measurement import LayerOutput, MetricResult
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.project import Model
from edgedeploy.domain.recipe import CompressStep
from edgedeploy.domain.target import ComputeUnits, EthosU, Lane, Os

ALL_ORDERS = -1
"""In place of an order's number: what is done once for all of them."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of the job, for the recipe of that name; what it makes goes into ``folder``, which is empty."""

    lane: Lane
    recipe: str
    folder: str


class SourceJob(msgspec.Struct, frozen=True, kw_only=True):
    """Which model it is about. ``project_file`` is only named in complaints."""

    project_root: str
    project_file: str
    model_name: str
    model: Model


class ExportJob(SourceJob, frozen=True, kw_only=True, tag="export"):
    """Load a model, compress it, and export it by each order in turn.

    ``layers``: with the outputs of its layers after its own, and a few golden inputs only; the artifact is for looking at.
    """

    compress: tuple[CompressStep, ...]
    os: Os
    min_os: str
    compute_units: ComputeUnits
    runtime_versions: dict[str, str]
    ethos_u: EthosU | None = None
    orders: tuple[Order, ...]
    layers: bool = False


class ProfileJob(SourceJob, frozen=True, kw_only=True, tag="profile"):
    """Load a model, compress it, and count what it is made of."""

    compress: tuple[CompressStep, ...]


class EvaluateJob(SourceJob, frozen=True, kw_only=True, tag="evaluate"):
    """Compute the source's own metric by PyTorch, then by what an artifact with this signature answers.

    The worker writes the inputs that the evaluation predicts on into ``folder``, says :class:`Recorded`, waits for a line,
    and expects the artifact's outputs where ``Recorded`` says.
    """

    subject: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    folder: str


Job = ExportJob | EvaluateJob | ProfileJob


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of equal shapes, in the form of golden inputs without answers; the artifact's outputs belong into ``folder``.

    ``golden``'s paths are relative to the job's folder, and so is ``folder``, which holds ``output_<i>.bin`` then.
    """

    golden: Golden
    folder: str


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's source read while it was loaded.

    Files by absolute path with their SHA-256, installed distributions with their versions.
    """

    files: dict[str, str]
    distributions: dict[str, str]


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """A slow step of an order begins."""

    order: int
    text: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """An order is done; ``artifact.json`` is in its folder."""

    order: int
    artifact: Artifact
    dependencies: Dependencies
    layers: tuple[LayerOutput, ...] = ()


class Recorded(msgspec.Struct, frozen=True, kw_only=True, tag="recorded"):
    """PyTorch's part of an evaluation is done: run the artifact on ``batches``, each in a process of its own."""

    batches: tuple[Batch, ...]


class Evaluated(msgspec.Struct, frozen=True, kw_only=True, tag="evaluated"):
    """An evaluation is done; ``dependencies`` are what it read."""

    result: MetricResult
    dependencies: Dependencies


class Profiled(msgspec.Struct, frozen=True, kw_only=True, tag="profiled"):
    """The answer to a profile job; ``dependencies`` are what it read."""

    profile: ModelProfile
    dependencies: Dependencies


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """An order, or all of them, failed with an error of :mod:`edgedeploy.errors`, named by its class."""

    order: int
    kind: str
    what: str
    where: str
    seen: str
    next_step: str


Message = Step | Done | Recorded | Evaluated | Profiled | Failed
