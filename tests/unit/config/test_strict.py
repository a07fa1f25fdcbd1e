"""Every complaint about a configuration file names file and key, what was seen, and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.config.lab import read_lab
from edgedeploy.config.project import read_project
from edgedeploy.config.strict import decode
from edgedeploy.config.targets import read_target
from edgedeploy.domain.project import Project
from edgedeploy.errors import ConfigError

GOOD = 'name = "p"\n[models.net]\nsource = "m.py:net"\n[[deploy]]\nmodel = "net"\ntargets = ["this-machine"]\n'


def project_error(tmp_path: Path, text: str) -> ConfigError:
    file = tmp_path / "edgedeploy.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_project(file)
    assert str(file) in caught.value.where
    return caught.value


def test_a_good_project_is_read(tmp_path: Path) -> None:
    file = tmp_path / "edgedeploy.toml"
    file.write_text(GOOD)
    project = read_project(file)
    assert project.deploy[0].targets == ("this-machine",)
    assert project.models["net"].source == "m.py:net"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('name = "p"\n[models.net]\nsorce = "x"\n', "models.net.sorce", ["unknown key 'sorce'", "did you mean 'source'"]),
        ('name = "p"\nmodel = 1\n', ": model", ["unknown key 'model'", "did you mean 'models'"]),
        ('name = "p"\n[models.net]\n', "models.net", ["'source' is missing"]),
        ('name = "p"\n[models.net]\nsource = 3\n', "models.net.source", ["Expected 'str', got 'int'", "seen: 3"]),
        ('name = "P P"\n[models]\n', ": name", ["regex"]),
        (GOOD + "[deploy.budget]\nlatency_p50_ms = -1\n", "deploy[0].budget.latency_p50_ms", ["> 0", "seen: -1"]),
        (GOOD + '[recipes.r]\nprecision = "fp32"\n[recipes.r.accept]\nmin_sqnr = 3\n', "recipes.r.accept.min_sqnr", ["did you mean 'min_sqnr_db'"]),
        (GOOD + '[models."a b"]\nsource = "x:y"\n', "models.a b", ["in a name"]),
        (GOOD.replace('model = "net"', 'model = "nett"'), "deploy[0].model", ["unknown model 'nett'", "did you mean 'net'"]),
        (GOOD + 'recipes = ["int9"]\n', "deploy[0].recipes", ["unknown recipe 'int9'", "did you mean 'int8'"]),
        ("name = \n", "edgedeploy.toml", ["not valid TOML", "line 1"]),
        ("\x00", "edgedeploy.toml", ["not valid TOML"]),
    ],
)  # fmt: skip
def test_complaints_name_the_key(tmp_path: Path, text: str, key: str, words: list[str]) -> None:
    error = project_error(tmp_path, text)
    assert key in error.where
    for word in words:
        assert word in str(error)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_project(tmp_path / "edgedeploy.toml")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "models", "net", "source", "deploy", "x"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*Project.__struct_fields__, "other"]), values))
def test_no_data_makes_the_decoder_fail_in_another_way(data: dict[str, object]) -> None:
    try:
        decode(data, Project, file="f.toml")
    except ConfigError as error:
        assert error.where.startswith("f.toml")
        assert error.what


TARGET = """
name = "board"
title = "A board"
os = "linux"
abi = "linux-aarch64"
transports = ["ssh"]
workdir = "~/x"
lanes = [{ exporter = "tflite", backend = "xnnpack" }]
"""


def test_a_fact_without_a_source_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_text(TARGET)
    assert read_target(file).name == "board"
    file.write_text(TARGET + '[soc]\nname = "SoC"\n')
    with pytest.raises(ConfigError, match="a fact without a source") as caught:
        read_target(file)
    assert "soc.name" in caught.value.where


def test_a_target_is_named_like_its_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(TARGET)
    with pytest.raises(ConfigError, match="that of the file"):
        read_target(file)


def lab_error(tmp_path: Path, text: str) -> ConfigError:
    board = tmp_path / "board.toml"
    board.write_text(TARGET)
    file = tmp_path / "lab.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_lab(file, {"board": read_target(board)})
    return caught.value


def test_two_devices_with_one_address(tmp_path: Path) -> None:
    error = lab_error(tmp_path, '[devices.a]\ntarget="board"\nhost="pi"\n[devices.b]\ntarget="board"\nhost="pi"\n')
    assert "'a' and 'b'" in error.what
    assert "devices.b" in error.where


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[devices.a]\ntarget="boart"\nhost="pi"\n', "did you mean 'board'"),
        ('[devices.a]\ntarget="board"\n', "'host' is missing"),
        ('[devices.a]\ntarget="board"\nhost="pi"\ntransport="adb"\n', "not reached by 'adb'"),
        ('[devices.a]\ntarget="board"\nhost="pi"\npassword="hunter2"\n', "regex"),
    ],
)
def test_lab_complaints(tmp_path: Path, text: str, words: str) -> None:
    assert words in str(lab_error(tmp_path, text))
