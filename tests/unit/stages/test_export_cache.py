"""When an export is found again, and when it is made again. The worker is a stand-in that writes what a real one writes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, TFLITE, Heard, artifact, planned, target

from edgedeploy.cache import Cache
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.domain.events import Finished
from edgedeploy.domain.project import InputConfig, Model
from edgedeploy.domain.recipe import Budget, CompressStep, Floors, Recipe
from edgedeploy.domain.target import EthosU, MeasurePolicy
from edgedeploy.errors import ConfigError, EdgedeployError, ModelError
from edgedeploy.stages import export as stage
from edgedeploy.stages.export import Prepared, cached_export, export, files_read, read_artifact
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.worker.client import Outcome, Tell, Workers
from edgedeploy.worker.job import ALL_ORDERS, Dependencies, Done, ExportJob


class Desk(Workers):
    """A project with a model file, a cache, and in place of workers one that counts its jobs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.root = folder / "project"
        self.root.mkdir()
        self.file = self.root / "edgedeploy.toml"
        self.source = self.root / "model.py"
        self.source.write_text("one")
        self.cache = Cache(folder / "cache")
        self.heard = Heard()
        self.jobs: list[ExportJob] = []
        self.more: list[Path] = []
        self.fails: EdgedeployError | None = None
        self.toolchain = {"torch": "2.13.0"}
        self.distributions = {"pytest": importlib.metadata.version("pytest")}
        monkeypatch.setattr(stage, "toolchain_versions", lambda _name: dict(self.toolchain))

    def run(self, job: ExportJob, *, log: Path, tell: Tell) -> Iterator[tuple[int, Outcome]]:
        self.jobs.append(job)
        log.write_text("what the SDK printed")
        tell(ALL_ORDERS, "loading")
        files = {str(file.resolve()): file_sha256(file) for file in (self.source, *self.more)}
        dependencies = Dependencies(files=files, distributions=self.distributions)
        for number, order in enumerate(job.orders):
            assert list(Path(order.folder).iterdir()) == []
            tell(number, "converting")
            if self.fails:
                Path(order.folder, "half").write_text("")
                yield number, self.fails
                continue
            made = artifact(Path(order.folder), planned(job.model_name, lane=order.lane), content=self.source.read_bytes())
            yield number, Done(order=number, artifact=made, dependencies=dependencies)

    def export(self, run: PlannedRun | None = None, **target_changes: object) -> Prepared:
        ((_, outcome),) = self.export_all([run or planned()], **target_changes)
        if isinstance(outcome, EdgedeployError):
            raise outcome
        return outcome

    def export_all(
        self, runs: Sequence[PlannedRun], **target_changes: object
    ) -> list[tuple[PlannedRun, Prepared | EdgedeployError]]:
        return list(export(runs, target(**target_changes), self.file, self.cache, self, self.heard))

    def cached(self, run: PlannedRun | None = None) -> Prepared | None:
        return cached_export(run or planned(), target(), self.file, self.cache)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Nothing exported yet."""
    return Desk(tmp_path, monkeypatch)


def test_the_second_export_finds_the_first(desk: Desk) -> None:
    assert desk.cached() is None
    first = desk.export()
    assert not first.cached
    second = desk.export()
    assert second == msgspec.structs.replace(first, cached=True)
    assert desk.cached() == second
    assert len(desk.jobs) == 1
    assert [event.cached for event in desk.heard if isinstance(event, Finished)] == [False, True]
    assert Path(second.folder, "model.pte").read_bytes() == b"one"
    assert not list(desk.cache.root.glob("scratch-*"))


def test_the_job_carries_what_the_run_asks_for(desk: Desk) -> None:
    desk.export(planned(lane=INT8), os="ios", min_os="17")
    (job,) = desk.jobs
    (order,) = job.orders
    assert (job.model_name, order.recipe, order.lane, job.os, job.min_os) == ("net", "int8", INT8, "ios", "17")
    assert (job.project_root, job.project_file) == (str(desk.root), str(desk.file))


@pytest.mark.parametrize(
    "change",
    [
        lambda run: msgspec.structs.replace(run, lane=INT8),
        lambda run: msgspec.structs.replace(run, recipe_name="other"),
        lambda run: msgspec.structs.replace(run, model_name="other"),
        lambda run: msgspec.structs.replace(run, recipe=Recipe(precision="fp32", compress=(CompressStep(use="magnitude"),))),
        lambda run: msgspec.structs.replace(run, model=Model(source="model.py:other")),
        lambda run: msgspec.structs.replace(run, model=Model(source="model.py:net", inputs=(InputConfig(shape=(1, 2)),))),
    ],
)
def test_another_setting_is_another_export(desk: Desk, change: Callable[[PlannedRun], PlannedRun]) -> None:
    first = desk.export()
    other = desk.export(change(planned()))
    assert len(desk.jobs) == 2
    assert first.folder != other.folder
    assert desk.export().folder == first.folder
    assert desk.export(change(planned())).cached
    assert len(desk.jobs) == 2


def test_settings_of_a_compress_step_count(desk: Desk) -> None:
    runs = [
        msgspec.structs.replace(
            planned(),
            recipe=Recipe(precision="fp32", compress=(CompressStep(use="magnitude", settings={"sparsity": sparsity}),)),
        )
        for sparsity in (0.5, 0.6)
    ]
    assert len({desk.export(run).folder for run in runs}) == 2


def test_a_target_with_another_system_is_another_export_and_one_with_the_same_is_not(desk: Desk) -> None:
    folders = [desk.export(**system).folder for system in ({}, {"os": "ios"}, {"os": "ios", "min_os": "17"})]
    assert len(set(folders)) == 3
    assert desk.export(name="another", title="Of the same system").folder == folders[0]


def test_how_a_run_is_judged_and_measured_makes_no_other_export(desk: Desk) -> None:
    first = desk.export()
    judged = planned(budget=Budget(size_mb=1), accept=Floors(min_cosine=0.5), policy=MeasurePolicy(iterations=5))
    assert desk.export(judged).folder == first.folder
    assert desk.jobs[1:] == []


def test_another_version_of_the_sdk_is_another_export(desk: Desk) -> None:
    first = desk.export()
    desk.toolchain["torch"] = "2.14.0"
    assert desk.cached() is None
    assert desk.export().folder != first.folder
    desk.toolchain["torch"] = "2.13.0"
    assert desk.export().folder == first.folder


def test_a_changed_file_means_another_export_and_the_old_one_is_found_when_it_is_changed_back(desk: Desk) -> None:
    first = desk.export()
    desk.source.write_text("two")
    assert desk.cached() is None
    assert Path(desk.export().folder, "model.pte").read_bytes() == b"two"
    desk.source.write_text("one")
    back = desk.export()  # what the source depends on is only known by loading it again
    assert back.folder == first.folder
    assert len(desk.jobs) == 3


def test_what_an_export_read_is_known_afterwards(desk: Desk) -> None:
    assert files_read(planned(), desk.file, desk.cache) == ()
    desk.more.append(Path(stage.__file__))  # ours: no part of a project
    desk.export()
    assert files_read(planned(), desk.file, desk.cache) == (desk.source.resolve(),)


def test_touching_a_file_changes_nothing(desk: Desk) -> None:
    desk.export()
    desk.source.write_text("one")
    desk.source.touch()
    assert desk.export().cached


def test_a_missing_dependency_means_export_again(desk: Desk) -> None:
    desk.export()
    desk.source.rename(desk.root / "moved.py")
    assert desk.cached() is None
    (desk.root / "moved.py").rename(desk.source)
    assert desk.cached() is not None


def test_a_dependency_that_became_a_folder_means_export_again(desk: Desk) -> None:
    desk.export()
    desk.source.unlink()
    desk.source.mkdir()
    assert desk.cached() is None


@pytest.mark.parametrize("distributions", [{"pytest": "0.0.1"}, {"no-such-distribution": "1.0"}])
def test_another_version_of_a_package_the_model_imports_means_export_again(desk: Desk, distributions: dict[str, str]) -> None:
    desk.distributions = distributions
    desk.export()
    assert desk.cached() is None
    desk.export()
    assert len(desk.jobs) == 2


def test_an_entry_of_the_cache_that_was_removed_by_hand_is_made_again(desk: Desk) -> None:
    import shutil

    first = desk.export()
    shutil.rmtree(first.folder)
    assert desk.cached() is None
    assert desk.export().folder == first.folder


def test_an_artifact_that_a_disk_has_damaged_is_made_again(desk: Desk) -> None:
    """Of the same size: a bundle would carry it to another machine, which then refuses it."""
    first = desk.export()
    file = Path(first.folder, "model.pte")
    file.write_bytes(b"two")
    assert desk.cached() is None
    assert Path(desk.export().folder, "model.pte").read_bytes() == b"one"


def test_a_copy_of_the_project_elsewhere_loads_its_source_and_finds_the_same_export(desk: Desk, tmp_path: Path) -> None:
    first = desk.export()
    copy = tmp_path / "copy"
    copy.mkdir()
    desk.file, desk.source = copy / "edgedeploy.toml", copy / "model.py"
    desk.source.write_text("one")
    assert desk.cached() is None
    assert desk.export().folder == first.folder


def test_an_export_that_fails_leaves_nothing_behind_but_its_log(desk: Desk) -> None:
    desk.fails = ModelError("forward raised")
    with pytest.raises(ModelError):
        desk.export()
    assert sorted(path.name for path in desk.cache.root.iterdir()) == ["logs"]
    assert [log.read_text() for log in (desk.cache.root / "logs").iterdir()] == ["what the SDK printed"]
    assert desk.cached() is None
    desk.fails = None
    assert not desk.export().cached


def test_a_damaged_artifact_is_told_with_its_file(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not an exported artifact") as caught:
        read_artifact(tmp_path)
    assert caught.value.where == str(tmp_path / "artifact.json")
    assert caught.value.next_step == "export it again"
    (tmp_path / "artifact.json").write_text('{"schema": "edgedep')
    with pytest.raises(ConfigError):
        read_artifact(tmp_path)


def test_two_files_that_were_swapped_are_not_the_same_files(desk: Desk) -> None:
    one, two = desk.root / "one.bin", desk.root / "two.bin"
    desk.more = [one, two]
    one.write_text("1")
    two.write_text("2")
    first = desk.export()
    one.write_text("2")
    two.write_text("1")
    assert desk.cached() is None
    assert desk.export().folder != first.folder


@pytest.mark.parametrize("name", ["artifact.json", "model.pte", "golden/input_0.bin", "golden/reference_0.bin"])
def test_an_entry_that_was_cut_short_is_made_again(desk: Desk, name: str) -> None:
    first = desk.export()
    file = Path(first.folder, name)
    file.write_bytes(file.read_bytes()[:-1])
    assert desk.cached() is None
    second = desk.export()
    assert not second.cached
    assert Path(second.folder, "model.pte").read_bytes() == b"one"
    assert read_artifact(Path(second.folder)) == second.artifact


def test_lanes_of_one_model_are_one_job_and_what_is_cached_is_not_in_it(desk: Desk) -> None:
    desk.export()
    outcomes = desk.export_all([planned(), planned(lane=INT8), planned(lane=TFLITE)])
    assert [run.lane for run, _ in outcomes] == [FP32, INT8, TFLITE]
    assert [isinstance(outcome, Prepared) and outcome.cached for _, outcome in outcomes] == [True, False, False]
    assert [[order.lane for order in job.orders] for job in desk.jobs] == [[FP32], [INT8, TFLITE]]


@pytest.mark.parametrize(
    "change",
    [
        {"compute_units": "cpu-only"},
        {"runtime_versions": {"tflite-runtime": "2.14.0"}},
        {"ethos_u": EthosU(config="ethos-u55-128")},
    ],
)
def test_what_a_target_says_of_its_engines_is_another_export(desk: Desk, change: dict[str, object]) -> None:
    assert desk.export().folder != desk.export(**change).folder
