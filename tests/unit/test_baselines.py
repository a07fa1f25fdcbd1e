"""Baselines: what is written down, what is found again, what is refused."""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path

import pytest
from unit.stages.planned import FP32, INT8, planned, prepared

from edgedeploy.baselines import Archive, Exported, file_of, read_baselines, set_baselines
from edgedeploy.cache import Cache
from edgedeploy.domain.baseline import Baselines
from edgedeploy.domain.events import Event, Note
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Lane
from edgedeploy.errors import ConfigError, MissingToolError, UsageError
from edgedeploy.pipeline import Pipeline
from edgedeploy.stages.run_result import Ready, failed_run

REVISION, OTHER = "a" * 40, "b" * 40


def ready(folder: Path, content: bytes = b"program", *, lane: Lane = FP32) -> Ready:
    folder.mkdir(parents=True, exist_ok=True)
    return Ready(prepared=prepared(folder, planned(lane=lane), content=content), host=Verification())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "project/edgedeploy.toml"


@pytest.fixture(autouse=True)
def _folder(project: Path) -> None:
    project.parent.mkdir()


def never(_revision: str, _models: Collection[str]) -> Exported:
    raise AssertionError("nothing has to be exported again")


def test_what_is_set_is_read_back_and_other_runs_stay(project: Path, tmp_path: Path) -> None:
    assert read_baselines(project, "bench") == Baselines(target="bench")
    set_baselines(project, "bench", [ready(tmp_path / "a")], REVISION)
    both = set_baselines(project, "bench", [ready(tmp_path / "b", b"other", lane=INT8)], OTHER)
    assert read_baselines(project, "bench") == both
    assert [(one.recipe, one.revision) for one in both.baselines] == [("fp32", REVISION), ("int8", OTHER)]


def test_setting_the_same_again_leaves_the_file_as_it_was(project: Path, tmp_path: Path) -> None:
    set_baselines(project, "bench", [ready(tmp_path / "a")], REVISION)
    file = file_of(project, "bench")
    before = file.read_text()
    file.write_text(before.replace('"set_by": "', '"set_by": "somebody else, '))
    set_baselines(project, "bench", [ready(tmp_path / "a")], REVISION)
    assert "somebody else" in file.read_text()


def test_a_disk_that_is_full_leaves_the_file_as_it_was(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_baselines(project, "bench", [ready(tmp_path / "one")], REVISION)
    file = file_of(project, "bench")
    before = file.read_bytes()
    whole = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        whole(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    other = ready(tmp_path / "other", b"another one")
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(UsageError, match="cannot be written"):
        set_baselines(project, "bench", [other], "")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_the_same_artifact_keeps_the_commit_that_made_it(project: Path, tmp_path: Path) -> None:
    """Else a change of the README, not yet committed, takes away the way to export it again."""
    same = [ready(tmp_path / "a")]
    for revision, expected in (("", ""), (REVISION, REVISION), ("", REVISION), (OTHER, OTHER)):
        (found,) = set_baselines(project, "bench", same, revision).baselines
        assert found.revision == expected


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": "edgedeploy.baselines/2", "target": "bench"}',
        '{"schema": "edgedeploy.baselines/1", "target": "bench", "basline": []}',
        '{"schema": "edgedeploy.baselines/1", "target": "other"}',
    ],
)
def test_a_file_that_is_none_is_refused_by_name(project: Path, tmp_path: Path, content: str) -> None:
    file = file_of(project, "bench")
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        read_baselines(project, "bench")
    assert str(file) in raised.value.where
    with pytest.raises(ConfigError):  # and is not written over
        set_baselines(project, "bench", [ready(tmp_path / "a")], REVISION)
    assert file.read_text() == content


def test_a_candidate_that_is_the_baseline_is_its_own(project: Path, tmp_path: Path) -> None:
    candidate = ready(tmp_path / "a")
    baselines = set_baselines(project, "bench", [candidate], REVISION)
    assert Archive(baselines, Cache(tmp_path / "cache"), never).baseline_of(candidate) == candidate


def test_one_that_is_in_the_cache_is_taken_from_there(project: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    exported = ready(cache.root / "exports/one", b"the baseline")
    baselines = set_baselines(project, "bench", [exported], "")
    found = Archive(baselines, cache, never).baseline_of(ready(tmp_path / "now"))
    assert found.prepared.folder == str(cache.root / "exports/one")
    assert found.prepared.artifact.sha256 == exported.prepared.artifact.sha256
    (cache.root / "exports/one/model.pte").write_bytes(b"damaged!!!!!")
    with pytest.raises(UsageError, match="not on this machine") as raised:
        Archive(baselines, cache, never).baseline_of(ready(tmp_path / "now"))
    assert "clean work tree" in raised.value.next_step


def test_one_that_is_gone_is_exported_again_and_another_file_is_told(project: Path, tmp_path: Path) -> None:
    was = ready(tmp_path / "was", b"the baseline")
    baselines = set_baselines(project, "bench", [was], REVISION)
    asked: list[str] = []
    events: list[Event] = []

    def exported_at(revision: str, _models: Collection[str]) -> Exported:
        asked.append(revision)
        return (again,), ()

    for again, notes in ((was, 0), (ready(tmp_path / "again", b"by a newer SDK"), 1)):
        archive = Archive(baselines, Cache(tmp_path / "cache"), exported_at, events.append)
        for _ in range(2):
            assert archive.baseline_of(ready(tmp_path / "now")) == again
        assert len([event for event in events if isinstance(event, Note)]) == 2 * notes
    assert asked == [REVISION, REVISION]


def test_a_run_without_a_baseline_says_how_to_set_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no baseline on bench") as raised:
        Archive(Baselines(target="bench"), Cache(tmp_path / "cache"), never).baseline_of(ready(tmp_path / "now"))
    assert raised.value.next_step == "edgedeploy baseline set --target bench"


def test_what_cannot_be_exported_again_fails_alone_and_is_not_tried_twice(project: Path, tmp_path: Path) -> None:
    """Only the models whose baselines are of that revision are exported."""

    def of(model: str, content: bytes) -> Ready:
        place = tmp_path / f"{model}-{content.decode()}"
        place.mkdir()
        return Ready(prepared=prepared(place, planned(model), content=content), host=Verification())

    was = of("good", b"1")
    baselines = set_baselines(project, "bench", [was, of("bad", b"2")], REVISION)
    baselines = set_baselines(project, "bench", [of("other", b"3")], OTHER)
    asked: list[tuple[str, list[str]]] = []

    def exported_at(revision: str, models: Collection[str]) -> Exported:
        asked.append((revision, sorted(models)))
        error = MissingToolError("no SDK", seen="nothing", next_step="install it")
        return (was,), (failed_run(planned("bad"), "demo", "bench", "", error),)

    archive = Archive(baselines, Cache(tmp_path / "cache"), exported_at)
    bad = of("bad", b"now")
    for _ in range(2):
        with pytest.raises(MissingToolError) as raised:
            archive.baseline_of(bad)
        assert (raised.value.what, raised.value.next_step) == ("baseline: no SDK", "install it")
    assert archive.baseline_of(of("good", b"now")) == was
    assert asked == [(REVISION, ["bad", "good"])]


def test_a_plan_says_what_is_gated_and_what_of_it_has_no_baseline(project: Path, tmp_path: Path) -> None:
    (project.parent / "model.py").write_text("")
    deploy = '[[deploy]]\nmodel = "{}"\ntargets = ["this-machine"]\nrecipes = ["fp32", "int8"]\nexporters = ["executorch"]\n'
    gate = "gate = { size_percent = 1 }\n"
    models = "".join(f'[models.{name}]\nsource = "model.py:net"\n' for name in ("net", "free"))
    project.write_text(f'name = "demo"\n{models}{deploy.format("net")}{gate}{deploy.format("free")}')
    was = ready(tmp_path / "was")
    set_baselines(project, "this-machine", [was], REVISION)

    def told() -> list[tuple[str, str, bool, str]]:
        pipeline = Pipeline.load(project, cache=Cache(tmp_path / "cache"))
        return [(one.model, one.recipe, one.gated, one.baseline_sha256) for one in pipeline.plan("this-machine").runs]

    free = [("free", recipe, False, "") for recipe in ("fp32", "int8")]
    assert told() == [("net", "fp32", True, was.prepared.artifact.sha256), ("net", "int8", True, ""), *free]
    file_of(project, "this-machine").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        told()
    project.write_text(project.read_text().replace(gate, ""))
    assert len(told()) == 4  # nothing is gated: nobody reads it
