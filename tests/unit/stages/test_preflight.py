"""The plan of a project: which models are counted, what is foreseen for each run, and what stands in the way."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, TFLITE, Heard, planned, prepared, target
from unit.test_prediction import profile, weight

from edgedeploy.cache import Cache
from edgedeploy.domain.events import Finished
from edgedeploy.domain.recipe import Budget, CompressStep, Recipe
from edgedeploy.domain.target import Lane
from edgedeploy.errors import ExportError
from edgedeploy.stages import preflight as stage
from edgedeploy.stages.preflight import Profiled, export_peak_bytes, foresee, form_of, model_facts, one_per_form
from edgedeploy.stages.profile import cached_profile
from edgedeploy.stages.profile import profile as profile_model
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import Dependencies, ProfileJob
from edgedeploy.worker.job import Profiled as Answer

PROFILE = profile(weight("linear", 1000, 1000), weight("embedding", 1000, 1000))
PRUNED = planned()
PRUNED = msgspec.structs.replace(PRUNED, recipe=Recipe(precision="fp32", compress=(CompressStep(use="magnitude"),)))


class Desk(Workers):
    """A project with a cache, and in place of workers one that counts its jobs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / "edgedeploy.toml"
        self.source = folder / "model.py"
        self.source.write_text("one")
        self.cache = Cache(folder / "cache")
        self.jobs: list[ProfileJob] = []
        self.heard = Heard()

    def profile(self, job: ProfileJob, *, log: Path, emit: object) -> Answer:
        from edgedeploy.deploy.digest import file_sha256

        self.jobs.append(job)
        files = {str(self.source): file_sha256(self.source)}
        return Answer(profile=PROFILE, dependencies=Dependencies(files=files, distributions={}))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def lines(desk: Desk, *runs: object, profiled: Profiled = PROFILE, free_bytes: int | None = None, **changes: object) -> tuple:
    return foresee(runs, target(**changes), desk.file, desk.cache, {form_of(run): profiled for run in runs}, free_bytes)


def test_lanes_of_a_model_share_a_profile_and_compressed_forms_have_their_own() -> None:
    runs = [planned(lane=FP32), planned(lane=INT8), PRUNED, planned("other")]
    assert list(one_per_form(runs).values()) == [runs[0], PRUNED, runs[3]]
    facts = model_facts(runs, dict.fromkeys(one_per_form(runs), PROFILE))
    assert [(each.model, each.compressed_by) for each in facts] == [("net", ()), ("net", ("magnitude",)), ("other", ())]
    assert facts[0].weight_bytes == 8_000_000
    assert facts[0].weight_bytes_by_kind == {"linear": 4_000_000, "embedding": 4_000_000}


def test_a_profile_is_counted_once_and_again_when_the_source_changes(desk: Desk) -> None:
    run = planned()
    assert cached_profile(run, desk.file, desk.cache) is None
    assert profile_model(run, desk.file, desk.cache, desk, desk.heard) == PROFILE
    assert profile_model(run, desk.file, desk.cache, desk, desk.heard) == PROFILE
    assert cached_profile(run, desk.file, desk.cache) == PROFILE
    assert [event.cached for event in desk.heard if isinstance(event, Finished)] == [False, True]
    profile_model(PRUNED, desk.file, desk.cache, desk, desk.heard)
    assert [len(job.compress) for job in desk.jobs] == [0, 1]
    desk.source.write_text("two")
    assert cached_profile(run, desk.file, desk.cache) is None


def test_a_line_per_run_with_its_prediction(desk: Desk) -> None:
    fp32, int8 = lines(desk, planned(lane=FP32), planned(lane=INT8))
    assert (fp32.fits, int8.fits) == ("yes", "yes")
    assert 8_000_000 < fp32.predicted.size_bytes < 8_100_000
    assert 2_000_000 < int8.predicted.size_bytes < 2_100_000
    assert not fp32.export_cached
    assert not fp32.verify_cached
    assert fp32.size_bytes is None
    assert fp32.runtimes == ("executorch-native", "executorch-python")


def test_nothing_counted_is_unknown(desk: Desk) -> None:
    (line,) = lines(desk, planned(), profiled=None)
    assert (line.fits, line.predicted) == ("unknown", None)
    (facts,) = model_facts([planned()], {form_of(planned()): None})
    assert (facts.parameters, facts.error) == (None, None)


def test_a_model_that_cannot_be_traced_does_not_fit(desk: Desk) -> None:
    error = ExportError("forward branches on data", where="model.py:3", next_step="use torch.where")
    (line,) = lines(desk, planned(), profiled=error)
    assert line.fits == "no"
    assert [(one.what, one.where, one.next_step) for one in line.obstacles] == [
        ("forward branches on data", "model.py:3", "use torch.where")
    ]
    (facts,) = model_facts([planned()], {form_of(planned()): error})
    assert facts.error is not None
    assert facts.error.kind == "ExportError"


def test_what_a_lane_refuses_stands_in_the_way_unless_it_has_been_exported(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    method = msgspec.structs.replace(PROFILE.methods[0], lines={"sort.default": "model.py:7: `x.sort()`"})
    sorting = msgspec.structs.replace(PROFILE, methods=(method,))
    (line,) = lines(desk, planned(), profiled=sorting)
    assert line.fits == "no"
    assert [(one.operator, one.where, one.certain) for one in line.obstacles] == [("aten.sort", "model.py:7: `x.sort()`", True)]
    (desk.file.parent / "exported").mkdir()
    there = prepared(desk.file.parent / "exported", planned())
    monkeypatch.setattr(stage, "cached_export", lambda *_: there)
    assert lines(desk, planned(), profiled=sorting)[0].obstacles == ()


def test_budget_memory_and_machine_stand_in_the_way(desk: Desk) -> None:
    (line,) = lines(desk, planned(budget=Budget(size_mb=1)), free_bytes=1_000_000)
    assert line.fits == "no"
    assert [one.what.split()[0] for one in line.obstacles] == ["size_mb:", "the"]


def test_an_sdk_that_is_missing_stands_in_the_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "missing_distributions", lambda _name: ["executorch"])
    (line,) = lines(desk, planned())
    assert [one.what for one in line.obstacles] == ["not installed: executorch"]
    assert "edgedeploy[executorch]" in line.obstacles[0].next_step


def test_a_vendor_s_sdk_is_named_with_the_way_to_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    (line,) = lines(desk, planned(lane=Lane(exporter="executorch", backend="qnn", precision="fp16")))
    assert line.fits == "no"
    assert "Qualcomm" in line.obstacles[0].what
    assert line.obstacles[0].next_step


def test_an_export_s_peak_is_the_largest_of_what_is_still_to_be_done(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [planned(lane=FP32), planned(lane=INT8), planned(lane=TFLITE)]

    def peak() -> int:
        return export_peak_bytes(runs, target(), desk.file, desk.cache)

    assert peak() == 0
    profile_model(runs[0], desk.file, desk.cache, desk, desk.heard)
    single = [line.predicted.export_peak_bytes for line in lines(desk, *runs)]
    assert peak() == max(single) == single[2]
    monkeypatch.setattr(stage, "cached_export", lambda run, *_: object() if run.lane == TFLITE else None)
    assert peak() == max(single[:2])


def test_a_format_nothing_runs(desk: Desk) -> None:
    (line,) = lines(desk, planned(lane=TFLITE), runtimes=("executorch-native",))
    assert [one.what for one in line.obstacles] == ["the target names no runtime for .tflite"]
    (line,) = lines(desk, planned(lane=TFLITE), runtimes=())
    assert line.obstacles == ()


def test_what_is_exported_has_its_size_and_needs_no_memory_here(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planned(budget=Budget(size_mb=1))
    (desk.file.parent / "exported").mkdir()
    there = prepared(desk.file.parent / "exported", run)
    monkeypatch.setattr(stage, "cached_export", lambda *_: there)
    (line,) = lines(desk, run, free_bytes=1)
    assert line.export_cached
    assert line.size_bytes == len(b"program")
    assert line.fits == "yes"
