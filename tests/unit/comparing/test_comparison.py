"""What a side consists of. The project's pipeline is made up; exports are tests/integration's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, planned, prepared

from edgedeploy.baselines import set_baselines
from edgedeploy.cache import Cache
from edgedeploy.comparing.comparison import Comparing
from edgedeploy.comparing.sides import parse_side
from edgedeploy.domain.project import Project
from edgedeploy.domain.result import RunResult, Verification
from edgedeploy.domain.target import Lane
from edgedeploy.errors import EdgedeployError, ExportError, MissingToolError
from edgedeploy.lab import Lab
from edgedeploy.pipeline import Pipeline
from edgedeploy.stages.plan import PlannedRun, Selection
from edgedeploy.stages.run_result import Ready, failed_run


@dataclass(frozen=True, kw_only=True)
class MadeUp(Pipeline):
    """A pipeline that has exported ``items``, of which those of the chosen recipes are ready, and has ``failed`` ones."""

    items: tuple[Ready, ...] = ()
    failed: tuple[RunResult, ...] = ()

    def ready(  # type: ignore[override]
        self, _target: str, *, selection: Selection, **_others: object
    ) -> tuple[tuple[Ready, ...], tuple[RunResult, ...]]:
        wanted = [item for item in self.items if item.prepared.run.recipe_name in (selection.recipes or ("fp32", "int8", "auto"))]
        return tuple(wanted), self.failed


def made_up(folder: Path, items: tuple[Ready, ...], failed: tuple[RunResult, ...] = ()) -> MadeUp:
    return MadeUp(
        project=Project(name="project", models={}),
        project_file=folder / "edgedeploy.toml",
        lab=Lab(None),
        cache=Cache(folder / "cache"),
        items=items,
        failed=failed,
    )


def ready(folder: Path, run: PlannedRun) -> Ready:
    place = folder / run.folder
    place.mkdir(parents=True)
    return Ready(prepared=prepared(place, run, content=run.folder.encode()), host=Verification())


def automatic(lane: Lane) -> PlannedRun:
    return msgspec.structs.replace(planned(lane=lane), recipe_name="auto", automatic=True)


def failure(run: PlannedRun, error: EdgedeployError) -> RunResult:
    return failed_run(run, "project", "bench", "", error)


def test_a_baseline_may_be_that_of_another_recipe(tmp_path: Path) -> None:
    items = tuple(ready(tmp_path, planned(lane=lane)) for lane in (FP32, INT8))
    made = made_up(tmp_path, items)
    set_baselines(made.project_file, "bench", items, "")
    for text, expected in (("baseline@fp32", items[0]), ("baseline@int8", items[1]), ("baseline", items[1])):
        assert Comparing(pipeline=made, target="bench")._ready(parse_side(text), items[1:]) == (expected,)


def test_of_an_automatic_recipe_one_candidate_is_enough(tmp_path: Path) -> None:
    found = ready(tmp_path, automatic(FP32))
    inaccurate = failure(automatic(INT8), ExportError("int8 is too far from PyTorch"))
    made = made_up(tmp_path, (found,), (inaccurate,))
    assert made.exported("bench") == (found,)
    none = made_up(tmp_path, (), (inaccurate,))
    with pytest.raises(ExportError, match="now: int8 is too far"):
        none.exported("bench")


def test_an_sdk_that_is_missing_is_a_missing_tool(tmp_path: Path) -> None:
    made = made_up(tmp_path, (), (failure(planned(), MissingToolError("the lane needs something", next_step="install it")),))
    with pytest.raises(MissingToolError, match="git:main: the lane needs something") as raised:
        made.exported("bench", name="git:main")
    assert raised.value.next_step == "install it"
