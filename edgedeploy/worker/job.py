"""What the pipeline and a worker process say to each other: one job in, lines of messages out."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.project import Model
from edgedeploy.domain.recipe import CompressStep
from edgedeploy.domain.target import Lane, Os


class ExportJob(msgspec.Struct, frozen=True, kw_only=True):
    """Load a model, compress it, export it into ``folder``. ``project_file`` is only named in complaints."""

    project_root: str
    project_file: str
    model_name: str
    model: Model
    recipe: str
    compress: tuple[CompressStep, ...]
    lane: Lane
    os: Os
    min_os: str
    folder: str


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's source read while it was loaded.

    Files by absolute path with their SHA-256, installed distributions with their versions.
    """

    files: dict[str, str]
    distributions: dict[str, str]


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """A slow step begins."""

    text: str


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The job is done; ``artifact.json`` is in the folder."""

    artifact: Artifact
    dependencies: Dependencies


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The job failed with an error of :mod:`edgedeploy.errors`, named by its class."""

    kind: str
    what: str
    where: str
    seen: str
    next_step: str


Message = Step | Done | Failed
