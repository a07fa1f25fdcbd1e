"""Which lanes a project's deployments become on a target, and what is refused before anything is converted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, INT8, TFLITE, planned, target

from edgedeploy.domain.project import Deploy, LanguageConfig, MeasureOverride, Model, Project
from edgedeploy.domain.recipe import Budget, Recipe
from edgedeploy.domain.target import Lane, LaneOffer, MeasurePolicy
from edgedeploy.errors import ConfigError, MissingToolError, UsageError
from edgedeploy.stages import plan as stage
from edgedeploy.stages.plan import Selection, missing_sdk, plan, require_sdks

NET = Model(source="model.py:net")
ALL = Selection()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A project file beside which ``model.py`` lies."""
    (tmp_path / "model.py").write_text("")
    return tmp_path / "edgedeploy.toml"


TFLITE_OFFER = LaneOffer(exporter="tflite", backend="xnnpack")


def project(*deploy: Deploy, recipes: dict[str, Recipe] | None = None, **models: Model) -> Project:
    return Project(name="demo", models=models or {"net": NET}, deploy=deploy, recipes=recipes or {})


def deploy(**keys: object) -> Deploy:
    return Deploy(**({"model": "net", "targets": ("bench",)} | keys))  # type: ignore[arg-type]


def test_each_recipe_takes_the_first_lane_of_its_precision(file: Path) -> None:
    runs = plan(project(deploy(recipes=("int8", "fp32"))), file, target(), ALL)
    assert [run.lane for run in runs] == [INT8, FP32]
    assert [run.folder for run in runs] == ["net/int8/executorch-xnnpack-int8", "net/fp32/executorch-xnnpack-fp32"]
    other_order = target(lanes=(TFLITE_OFFER, msgspec.structs.replace(TFLITE_OFFER, exporter="executorch")))
    assert [run.lane for run in plan(project(deploy()), file, other_order, ALL)] == [TFLITE]


def test_exporters_given_take_one_lane_each_in_their_order(file: Path) -> None:
    runs = plan(project(deploy(exporters=("tflite", "executorch"))), file, target(), ALL)
    assert [run.lane for run in runs] == [TFLITE, FP32]


def test_deployments_come_in_the_order_of_the_file_and_those_of_other_targets_are_left_out(file: Path) -> None:
    runs = plan(
        project(deploy(model="b"), deploy(targets=("elsewhere",), model="a"), deploy(model="a"), a=NET, b=NET),
        file,
        target(),
        ALL,
    )
    assert [run.model_name for run in runs] == ["b", "a"]


def test_models_limit_the_plan(file: Path) -> None:
    both = project(deploy(model="a"), deploy(model="b"), a=NET, b=NET)
    assert [run.model_name for run in plan(both, file, target(), Selection(models=("b",)))] == ["b"]


def test_a_recipe_of_the_project_is_used_and_may_replace_a_built_in_one(file: Path) -> None:
    own = Recipe(precision="int8")
    (run,) = plan(project(deploy(recipes=("fp32",)), recipes={"fp32": own}), file, target(), ALL)
    assert (run.recipe, run.lane) == (own, INT8)


def test_a_deployment_overrides_only_what_it_names_of_the_policy(file: Path) -> None:
    policy = MeasurePolicy(processes=5, iterations=7, cpus=(1, 2), threads=2, warmup_iterations=3)
    override = MeasureOverride(iterations=9, cpus=(), warmup_iterations=0)
    budget = Budget(size_mb=1)
    (run,) = plan(project(deploy(measure=override, budget=budget)), file, target(measure=policy), ALL)
    assert run.policy == MeasurePolicy(processes=5, iterations=9, cpus=(), threads=2, warmup_iterations=0)
    assert run.budget == budget


def test_an_unknown_model_is_told_with_the_nearest(file: Path) -> None:
    with pytest.raises(UsageError, match="unknown model 'nett'") as caught:
        plan(project(deploy()), file, target(), Selection(models=("nett",)))
    assert caught.value.next_step.startswith("did you mean 'net'?")
    assert caught.value.where == str(file)


def test_a_target_nothing_is_deployed_to_is_told_with_those_that_are_named(file: Path) -> None:
    with pytest.raises(UsageError, match="nothing is to be deployed to 'bench'") as caught:
        plan(project(deploy(targets=("pixel8", "pixel9"))), file, target(), ALL)
    assert caught.value.seen == "[[deploy]] names pixel8, pixel9"
    with pytest.raises(UsageError) as caught:
        plan(project(), file, target(), ALL)
    assert caught.value.seen == "[[deploy]] names no target"
    with pytest.raises(UsageError, match="for b"):
        plan(project(deploy(model="a"), a=NET, b=NET), file, target(), Selection(models=("b",)))


def test_a_precision_no_lane_has_is_told_with_the_nearest(file: Path) -> None:
    bad = project(deploy(recipes=("tiny",)), recipes={"tiny": Recipe(precision="int9")})
    with pytest.raises(ConfigError, match="bench has no lane of precision 'int9'") as caught:
        plan(bad, file, target(), ALL)
    assert caught.value.where == f"{file}: deploy[0].recipes"
    assert (
        caught.value.next_step
        == "did you mean 'int8'? allowed: 8da4w, fp16, fp32, int4-weights, int8, int8-dynamic, int8-static, int8-weights"
    )


def test_an_exporter_that_has_no_lane_of_that_precision_is_told_with_the_lanes(file: Path) -> None:
    with pytest.raises(ConfigError, match="no lane 'tflite' of precision 'int8'") as caught:
        plan(project(deploy(), deploy(recipes=("int8",), exporters=("tflite",))), file, target(), ALL)
    assert caught.value.where == f"{file}: deploy[1].exporters"
    for lane in (FP32, INT8, TFLITE):
        assert lane.id in caught.value.next_step


def test_the_same_lane_twice_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="net executorch-xnnpack-fp32 is deployed to bench twice") as caught:
        plan(project(deploy(), deploy(exporters=("executorch",))), file, target(), ALL)
    assert caught.value.where == f"{file}: deploy[1]"
    with pytest.raises(ConfigError, match="twice"):
        plan(project(deploy(recipes=("fp32", "fp32"))), file, target(), ALL)


@pytest.mark.parametrize("source", ["model.py", "model.py:", ":net", "model.py:net()", "model.py:a b"])
def test_a_source_that_is_none_is_told_what_one_looks_like(file: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="not a model source") as caught:
        plan(project(deploy(), net=Model(source=source)), file, target(), ALL)
    assert caught.value.where == f"{file}: models.net.source"
    assert "file.py:callable" in caught.value.next_step


@pytest.mark.parametrize("source", ["gone.py:net", "gone.pt2", "folder.pt2"])
def test_a_source_file_that_is_not_there(file: Path, source: str) -> None:
    (file.parent / "folder.pt2").mkdir()
    with pytest.raises(ConfigError, match="no file") as caught:
        plan(project(deploy(), net=Model(source=source)), file, target(), ALL)
    assert source.partition(":")[0] in caught.value.seen


def test_a_further_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file 'weights\.bin'") as caught:
        plan(project(deploy(), net=Model(source="model.py:net", files=("weights.bin",))), file, target(), ALL)
    assert caught.value.where == f"{file}: models.net.files"


def test_a_package_is_not_looked_for_before_the_worker_imports_it(file: Path) -> None:
    (run,) = plan(project(deploy(), net=Model(source="some.package:net")), file, target(), ALL)
    assert run.model.source == "some.package:net"


def test_an_sdk_that_is_missing_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exporter:
        extra = "sixth"

        def toolchain(self) -> tuple[str, ...]:
            return ("pytest", "no-such-distribution")

        def compilers(self, lane: Lane) -> tuple[str, ...]:
            return ("no-such-compiler",)

    monkeypatch.setattr(stage.registry, "exporter", lambda _name: Exporter())
    run = planned(lane=Lane(exporter="other", backend="x", precision="fp32"))
    with pytest.raises(MissingToolError, match="the SDK of the exporter 'other' is not installed") as caught:
        require_sdks([run])
    assert caught.value.seen == "missing: no-such-distribution"
    assert "edgedeploy[sixth]" in caught.value.next_step
    versions = stage.toolchain_versions(run.lane)
    assert set(versions) == {"pytest", "no-such-distribution", "no-such-compiler"}
    assert versions["no-such-distribution"] == ""


def test_recipes_given_take_the_place_of_the_deployments_and_keep_its_budget(file: Path) -> None:
    bounded = deploy(recipes=("fp32",), budget=Budget(size_mb=3))
    runs = plan(project(bounded), file, target(), Selection(recipes=("int8", "fp16")))
    assert [run.recipe_name for run in runs] == ["int8", "fp16"]
    assert {run.budget for run in runs} == {Budget(size_mb=3)}


def test_exporters_given_may_name_their_backend(file: Path) -> None:
    runs = plan(project(deploy()), file, target(), Selection(exporters=("tflite-xnnpack", "executorch")))
    assert [run.lane for run in runs] == [TFLITE, FP32]
    with pytest.raises(ConfigError, match="no lane 'executorch-vulkan'"):
        plan(project(deploy()), file, target(), Selection(exporters=("executorch-vulkan",)))


def test_a_model_that_is_not_deployed_there_can_be_tried_there(file: Path) -> None:
    elsewhere = project(deploy(targets=("elsewhere",)))
    with pytest.raises(UsageError, match="nothing is to be deployed"):
        plan(elsewhere, file, target(), Selection(models=("net",)))
    (run,) = plan(elsewhere, file, target(), Selection(models=("net",), recipes=("int8",)))
    assert (run.lane, run.budget, run.policy) == (INT8, Budget(), target().measure)


def test_an_unknown_recipe_is_refused_with_the_nearest(file: Path) -> None:
    with pytest.raises(UsageError, match="unknown recipe 'int9'") as caught:
        plan(project(deploy()), file, target(), Selection(recipes=("int9",)))
    assert "int8" in caught.value.next_step


def test_a_lane_whose_compiler_is_missing_says_which_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    error = missing_sdk(Lane(exporter="executorch", backend="qnn", precision="fp16"))
    assert error is not None
    assert "QNN_SDK_ROOT" in error.what
    assert "Qualcomm" in error.next_step
    assert missing_sdk(FP32) is None


def language_folder(file: Path) -> Model:
    (file.parent / "llama").mkdir()
    (file.parent / "llama" / "config.json").write_text("{}")
    return Model(source="llama", language=LanguageConfig(context_length=64))


def test_a_language_model_takes_only_lanes_that_take_one(file: Path) -> None:
    net = language_folder(file)
    both = target(lanes=(TFLITE_OFFER, msgspec.structs.replace(TFLITE_OFFER, exporter="executorch")))
    assert [run.lane for run in plan(project(deploy(), net=net), file, both, Selection())] == [FP32]
    with pytest.raises(ConfigError, match="no lane 'tflite' of precision 'fp32'") as caught:
        plan(project(deploy(exporters=("tflite",)), net=net), file, both, Selection())
    assert "executorch-xnnpack-8da4w" in caught.value.next_step
    assert "tflite" not in caught.value.next_step


def test_static_int8_of_a_language_model_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="no lane of precision 'int8'"):
        plan(project(deploy(recipes=("int8",)), net=language_folder(file)), file, target(), Selection())


def test_the_text_of_a_language_model_that_is_not_there(file: Path) -> None:
    net = msgspec.structs.replace(language_folder(file), language=LanguageConfig(perplexity_text="gone.txt"))
    with pytest.raises(ConfigError, match=r"no file 'gone\.txt'") as caught:
        plan(project(deploy(), net=net), file, target(), Selection())
    assert caught.value.where == f"{file}: models.net.language.perplexity_text"


def test_language_is_for_language_models(file: Path) -> None:
    net = Model(source="model.py:net", language=LanguageConfig())
    with pytest.raises(ConfigError, match="Hugging Face") as caught:
        plan(project(deploy(), net=net), file, target(), Selection())
    assert "config.json" in caught.value.seen
