"""What a side of a comparison means, and who is compared with whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.stages.planned import FP32, INT8, TFLITE, planned, prepared

from edgedeploy.bundle import BUNDLE_FILE
from edgedeploy.comparing.sides import against_release, match, parse_side
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Lane
from edgedeploy.errors import UsageError
from edgedeploy.stages.deployed import Deployed
from edgedeploy.stages.run_result import Ready

SIDES = (parse_side("now"), parse_side("git:main"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", ("now", "", "", "")),
        ("now@int8", ("now", "", "int8", "")),
        ("@int8/tflite", ("now", "", "int8", "tflite")),
        ("git:main", ("git", "main", "", "")),
        ("release", ("release", "", "", "")),
        ("release:12@int8/tflite", ("release", "12", "int8", "tflite")),
        ("git:v1.2~3@my-recipe/executorch-vulkan", ("git", "v1.2~3", "my-recipe", "executorch-vulkan")),
        ("git:HEAD@{1}", ("git", "HEAD@{1}", "", "")),
        ("git:main@{2 days ago}@int8", ("git", "main@{2 days ago}", "int8", "")),
        ("git:@~1", ("git", "@~1", "", "")),
    ],
)
def test_a_side_is_a_place_with_a_recipe_and_an_exporter(text: str, expected: tuple[str, ...]) -> None:
    side = parse_side(text)
    assert (side.kind, side.place, side.recipe, side.exporter) == expected


@pytest.mark.parametrize("name", ["build", "with@sign"])
def test_a_folder_with_a_bundle_is_one_whatever_its_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / BUNDLE_FILE).write_text("{}")
    assert parse_side(str(folder)).place == str(folder)
    recipe = parse_side(f"{folder}@int8")
    assert (recipe.kind, recipe.place, recipe.recipe) == ("bundle", str(folder), "int8")


@pytest.mark.parametrize(
    "text", ["main", "git:", "git:@int8", "nowhere/at/all", "now!", "now@{1}", "release:", "release:0", "release:-1", "release:x"]
)
def test_anything_else_says_what_there_is(text: str) -> None:
    with pytest.raises(UsageError, match="nothing that can be compared") as raised:
        parse_side(text)
    assert "git:REVISION" in raised.value.next_step


def ready(folder: Path, model: str, lane: Lane) -> Ready:
    place = folder / model / lane.id
    place.mkdir(parents=True, exist_ok=True)
    return Ready(prepared=prepared(place, planned(model, lane=lane)), host=Verification())


def folders(pairs: tuple[object, ...]) -> list[tuple[str, str]]:
    return [(pair.base.prepared.run.folder, pair.candidate.prepared.run.folder) for pair in pairs]  # type: ignore[attr-defined]


def test_two_that_are_alone_are_compared_whatever_they_are(tmp_path: Path) -> None:
    found = match([ready(tmp_path, "net", FP32)], [ready(tmp_path, "other", TFLITE)], SIDES)
    assert folders(found) == [("net/fp32/executorch-xnnpack-fp32", "other/fp32/tflite-xnnpack-fp32")]
    assert (found[0].base_origin, found[0].candidate_origin) == ("now", "git:main")


def test_of_several_those_with_the_same_folder_are_compared(tmp_path: Path) -> None:
    base = [ready(tmp_path, "net", FP32), ready(tmp_path, "net", INT8), ready(tmp_path, "gone", FP32)]
    candidate = [ready(tmp_path, "net", INT8), ready(tmp_path, "new", FP32), ready(tmp_path, "net", FP32)]
    assert [one for one, other in folders(match(base, candidate, SIDES)) if one == other] == [
        "net/fp32/executorch-xnnpack-fp32",
        "net/int8/executorch-xnnpack-int8",
    ]


def test_where_nothing_has_the_same_folder_the_only_ones_of_a_model_are_compared(tmp_path: Path) -> None:
    base = [ready(tmp_path, "net", FP32), ready(tmp_path, "other", FP32)]
    candidate = [ready(tmp_path, "net", INT8), ready(tmp_path, "other", INT8)]
    assert [one.split("/")[0] == other.split("/")[0] for one, other in folders(match(base, candidate, SIDES))] == [True, True]


@pytest.mark.parametrize("base", [[], ["fp32", "tflite"]])
def test_what_is_not_clear_is_refused_with_what_there_is(tmp_path: Path, base: list[str]) -> None:
    lanes = {"fp32": FP32, "tflite": TFLITE}
    with pytest.raises(UsageError, match="not clear") as raised:
        match([ready(tmp_path, "net", lanes[name]) for name in base], [ready(tmp_path, "net", INT8)], SIDES)
    assert "net/int8/executorch-xnnpack-int8" in raised.value.seen
    assert "--model" in raised.value.next_step


def test_only_a_candidate_that_is_alone_is_compared_with_another_lane_of_a_release(tmp_path: Path) -> None:
    """Of two, one would be compared with what stands against the other."""
    alone, *two = ready(tmp_path, "a", FP32), ready(tmp_path, "b", FP32), ready(tmp_path, "b", INT8)
    for base, expected in (
        ("release", [True, False, False]),
        ("release@int8", [True, True, True]),
        ("release@fp32/tflite", [True] * 3),
    ):
        sides = parse_side(base), parse_side("now")
        found = [pair.base for pair in against_release([alone, *two], sides)]
        assert [isinstance(one, Deployed) and one.any_lane for one in found] == expected
