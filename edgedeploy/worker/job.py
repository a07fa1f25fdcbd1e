"""What the pipeline and a worker process say to each other: one job in, lines of messages out."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.project import Model
from edgedeploy.domain.recipe import CompressStep
from edgedeploy.domain.target import ComputeUnits, Lane, Os

ALL_ORDERS = -1
"""In place of an order's number: what is done once for all of them."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of the job, for the recipe of that name; what it makes goes into ``folder``, which is empty."""

    lane: Lane
    recipe: str
    folder: str


class ExportJob(msgspec.Struct, frozen=True, kw_only=True):
    """Load a model, compress it, and export it by each order in turn. ``project_file`` is only named in complaints."""

    project_root: str
    project_file: str
    model_name: str
    model: Model
    compress: tuple[CompressStep, ...]
    os: Os
    min_os: str
    compute_units: ComputeUnits
    runtime_versions: dict[str, str]
    orders: tuple[Order, ...]


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


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """An order, or all of them, failed with an error of :mod:`edgedeploy.errors`, named by its class."""

    order: int
    kind: str
    what: str
    where: str
    seen: str
    next_step: str


Message = Step | Done | Failed
