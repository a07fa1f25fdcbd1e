"""The iOS app's sources, as far as they can be checked without a Mac: they are read as text, and nothing is compiled."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.domain.target import ComputeUnits, MeasurePolicy
from edgedeploy.ports import Launch
from edgedeploy.runners.app_document import AppDocument, AppFacts
from edgedeploy.runners.document import RunnerDocument
from edgedeploy.runtimes.coreml_app import CoremlApp
from edgedeploy.runtimes.launch import command

SOURCES = Path(__file__).parents[3] / "runner/ios/Sources"


def source(name: str) -> str:
    return (SOURCES / f"{name}.swift").read_text(encoding="utf-8")


def test_every_file_says_that_it_was_never_compiled() -> None:
    files = sorted(SOURCES.glob("*.swift"))
    assert len(files) == 8
    for file in files:
        assert file.read_text(encoding="utf-8").startswith("// NEVER COMPILED, NEVER RUN by the project: no Mac was at hand.")
    assert "NEVER BUILT" in (SOURCES.parent / "project.yml").read_text(encoding="utf-8")


def test_the_app_knows_every_argument_that_it_is_given(tmp_path: Path) -> None:
    launch = Launch(
        model="m",
        method="main",
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 2)),),
        input_files=("i",),
        output_dir="o",
        policy=MeasurePolicy(),
        profile=True,
        cold=True,
    )
    bundle = CoremlApp().bundle("ios-arm64", cache_dir=tmp_path, emit=print)
    given = {word for word in command(bundle, launch, runner_dir="r", python="p") if word.startswith("--")}
    known = set(re.findall(r'"(--[a-z-]+)"', source("Arguments")))
    assert given | {"--document", "--facts", "--check", "--remove"} <= known
    assert set(re.findall(r'"([a-z-]+)": \.', source("Arguments"))) == set(ComputeUnits.__args__)


def test_the_app_writes_every_member_that_is_read() -> None:
    required = {field.encode_name for field in msgspec.structs.fields(RunnerDocument) if field.required} | {"schema", "runner"}
    assert required <= set(re.findall(r'"([a-z_]+)"', source("Session")))
    assert {"device", "damaged"} <= set(re.findall(r'"([a-z_]+)"', source("Session")))
    assert {field.encode_name for field in msgspec.structs.fields(AppDocument)} >= {"device", "damaged"}
    assert {field.encode_name for field in msgspec.structs.fields(AppFacts)} <= set(re.findall(r'"([a-z_]+)"', source("Facts")))


@pytest.mark.sdk
def test_the_numbers_of_core_mls_format() -> None:
    from coremltools.proto import Model_pb2

    messages = {
        "model": Model_pb2.Model,
        "description": Model_pb2.ModelDescription,
        "function": Model_pb2.FunctionDescription,
        "feature": Model_pb2.FeatureDescription,
    }
    found = re.findall(r"static let ([a-z]+)([A-Z][A-Za-z]+) = (\d+)", source("Specification"))
    assert len(found) == 9
    for message, field, number in found:
        name = field[0].lower() + field[1:]
        assert messages[message].DESCRIPTOR.fields_by_name[name].number == int(number), name
