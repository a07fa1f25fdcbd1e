"""What a project's artifacts are compared with until somebody decides otherwise: a small file that is committed and reviewed."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgedeploy.domain.target import Name

BASELINES_SCHEMA: Literal["edgedeploy.baselines/1"] = "edgedeploy.baselines/1"


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The artifact that a model by a recipe through a lane (its id) is compared with on a target.

    ``revision`` is the commit that it can be exported from again; empty where there was none that had everything.
    """

    model: Name
    recipe: Name
    lane: str
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size_bytes: Annotated[int, Meta(ge=0)]
    revision: Annotated[str, Meta(pattern=r"^([0-9a-f]{40,64})?\Z")] = ""
    set_at: str = ""
    set_by: str = ""

    @property
    def folder(self) -> str:
        """As :attr:`edgedeploy.stages.plan.PlannedRun.folder`."""
        return f"{self.model}/{self.recipe}/{self.lane}"


class Baselines(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All baselines of one target, sorted by what they are of."""

    schema: Literal["edgedeploy.baselines/1"] = BASELINES_SCHEMA
    target: Name
    baselines: tuple[Baseline, ...] = ()
