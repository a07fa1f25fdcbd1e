"""What a configuration may not say, and what a broken file may not spoil."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from edgedeploy.config.lab import read_lab
from edgedeploy.config.project import find_project_file
from edgedeploy.config.strict import decode
from edgedeploy.config.targets import problems
from edgedeploy.domain.project import Lab as LabFile
from edgedeploy.domain.project import MeasureOverride, Project
from edgedeploy.domain.recipe import Budget, Floors
from edgedeploy.domain.target import LaneOffer, MeasurePolicy, Target
from edgedeploy.errors import ConfigError, UsageError
from edgedeploy.lab import Lab
from edgedeploy.pipeline import Pipeline

PROJECT = 'name = "p"\n[models.net]\nsource = "m.py:net"\n[[deploy]]\nmodel = "net"\ntargets = ["this-machine"]\n'
BOARD = """\
name = "{name}"
title = "A board"
os = "linux"
abi = "linux-aarch64"
transports = ["ssh", "adb", "local"]
workdir = "~/x"
lanes = [{{ exporter = "tflite", backend = "xnnpack" }}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "edgedeploy.toml").write_text(PROJECT)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/board.toml").write_text(BOARD.format(name="board"))
    return tmp_path


def board() -> Target:
    lane = {"exporter": "tflite", "backend": "xnnpack"}
    facts = {"name": "board", "title": "A board", "os": "linux", "abi": "linux-aarch64", "workdir": "~/x", "lanes": [lane]}
    return msgspec.convert(facts | {"transports": ["ssh", "adb", "local"]}, Target)


# A path that is given.


@pytest.mark.parametrize("place", ["typo.toml", "sub/typo", "edgedeploy.toml/below"])
def test_a_path_that_is_not_there_finds_no_other_project(place: str, project: Path) -> None:
    (project / "sub").mkdir()
    with pytest.raises(UsageError, match="no such file or folder") as caught:
        find_project_file(project / place)
    assert caught.value.where == str(project / place)


def test_from_a_folder_that_is_there_one_looks_up(project: Path) -> None:
    (project / "sub/sub").mkdir(parents=True)
    for place in (project / "sub/sub", project, project / "edgedeploy.toml"):
        assert find_project_file(place) == project / "edgedeploy.toml"


def test_a_project_file_of_another_name_is_taken_as_given(project: Path) -> None:
    (project / "other.toml").write_text(PROJECT)
    assert find_project_file(project / "other.toml") == project / "other.toml"


# Broken target files.


@pytest.mark.parametrize("text", ["name = [", BOARD.format(name="other"), BOARD.format(name="broken") + "colour = 1\n"])
def test_a_broken_target_file_spoils_no_other(text: str, project: Path) -> None:
    (project / "targets/broken.toml").write_text(text)
    lab = Lab(project)
    assert {"board", "pixel8"} <= set(lab.targets)
    assert "broken" not in lab.targets
    (trouble,) = lab.broken
    assert str(project / "targets/broken.toml") in trouble.where
    assert lab.target("board").name == "board"
    with pytest.raises(ConfigError):
        lab.target("broken")


def test_a_lane_for_an_npu_needs_to_know_which() -> None:
    (complaint,) = problems(msgspec.structs.replace(board(), lanes=(LaneOffer(exporter="executorch", backend="ethos-u"),)))
    assert complaint[0] == "lanes"
    assert "[ethos_u]" in complaint[1]


@pytest.mark.parametrize(
    "text", ['config = "ethos-u55"', 'config = "ethos-u99-128"', 'config = "ethos-u55-128"\nmemory_mode = "a b"']
)
def test_an_npu_that_vela_does_not_know(text: str, project: Path) -> None:
    (project / "targets/npu.toml").write_text(BOARD.format(name="npu") + f"[ethos_u]\n{text}\n")
    (trouble,) = Lab(project).broken
    assert "ethos_u" in trouble.where


def test_a_device_of_a_broken_target_is_left_out_and_the_others_stay(project: Path) -> None:
    (project / "targets/broken.toml").write_text("name = [")
    (project / "lab.toml").write_text('[devices.a]\ntarget = "broken"\nhost = "a"\n[devices.b]\ntarget = "board"\nhost = "b"\n')
    assert [device.name for device in Lab(project).devices] == ["b"]


def test_every_target_is_fine_as_shipped() -> None:
    assert Lab(None).broken == ()


def test_an_unknown_target_of_a_deployment_is_refused_with_the_nearest(project: Path) -> None:
    (project / "edgedeploy.toml").write_text(PROJECT + '[[deploy]]\nmodel = "net"\ntargets = ["board", "pixle8"]\n')
    with pytest.raises(ConfigError, match="unknown target 'pixle8'") as caught:
        Pipeline.load(project)
    assert caught.value.where == f"{project / 'edgedeploy.toml'}: deploy[1].targets"
    assert "did you mean 'pixel8'?" in caught.value.next_step


def test_a_broken_target_of_a_deployment_is_known(project: Path) -> None:
    (project / "targets/board.toml").write_text("name = [")
    (project / "edgedeploy.toml").write_text(PROJECT.replace("this-machine", "board"))
    assert Pipeline.load(project).project.name == "p"


# Bounds.


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("max_seconds", [NAN, INF, 0, 86_401]),
        ("cooldown_s", [NAN, INF, -1, 86_401]),
        ("start_wait_s", [NAN, INF, -1, 86_401]),
        ("start_temperature_c", [NAN, INF, 0, 151, "cool"]),
        ("start_load", [NAN, INF, 0, 1025]),
        ("fixed_clock", [0, 1, 999_999, 100_000_000_001, "fast", 1.5]),
        ("energy_s", [NAN, INF, -1, 3601]),
        ("threads", [-1, 1025]),
        ("cpus", [[-1], [1024]]),
        ("processes", [0, 1001]),
        ("warmup_iterations", [-1, 10_000_001]),
        ("warmup_seconds", [NAN, INF, -1, 86_401]),
        ("min_seconds", [NAN, INF, -1, 86_401]),
        ("inputs", ["", "random", 1]),
    ],
)
def test_what_is_measured_has_bounds(key: str, values: list[object]) -> None:
    for value in values:
        for kind in (MeasurePolicy, MeasureOverride):
            with pytest.raises(ConfigError) as caught:
                decode({key: value}, kind, file="f")
            assert key in caught.value.where


def test_what_is_allowed_at_the_bounds() -> None:
    most = {
        "max_seconds": 86_400, "cooldown_s": 86_400, "threads": 1024, "cpus": [0, 1023], "processes": 1000,
        "warmup_iterations": 10_000_000, "warmup_seconds": 86_400, "min_seconds": 86_400, "inputs": "varied",
        "start_wait_s": 86_400, "start_temperature_c": 150, "start_load": 1024, "fixed_clock": 100_000_000_000,
        "energy_s": 3600,
    }  # fmt: skip
    for kind in (MeasurePolicy, MeasureOverride):
        decode(most, kind, file="f")


@pytest.mark.parametrize("kind", [Floors, Budget])
def test_floors_and_budgets_are_finite(kind: type[msgspec.Struct]) -> None:
    for field in kind.__struct_fields__:
        for value in (NAN, INF, -INF):
            with pytest.raises(ConfigError) as caught:
                decode({field: value}, kind, file="f")
            assert field in caught.value.where
    decode({"min_sqnr_db": -3.5}, Floors, file="f")
    decode({"latency_p50_ms": 1e6}, Budget, file="f")


# The lab file.


def lab_error(tmp_path: Path, text: str) -> ConfigError:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_lab(file, {"board": board()})
    return caught.value


def device(name: str, **keys: object) -> str:
    lines = "".join(f"{key} = {value if isinstance(value, int) else repr(value)}\n" for key, value in keys.items())
    return f"[devices.{name}]\ntarget = 'board'\n{lines}"


def test_this_machine_is_one_device(tmp_path: Path) -> None:
    error = lab_error(tmp_path, device("a", transport="local") + device("b", transport="local"))
    assert "'a' and 'b'" in error.what
    assert "this machine" in f"{error.what} {error.seen}"


@pytest.mark.parametrize(
    ("keys", "foreign"),
    [
        ({"transport": "ssh", "host": "pi", "serial": "X"}, "serial"),
        ({"transport": "adb", "host": "pi", "serial": "X"}, "host"),
        ({"transport": "adb", "serial": "X", "port": 5555}, "port"),
        ({"transport": "local", "host": "pi"}, "host"),
    ],
)
def test_a_key_of_another_transport(keys: dict[str, object], foreign: str, tmp_path: Path) -> None:
    error = lab_error(tmp_path, device("a", **keys))
    assert f"the key {foreign!r}" in error.what
    assert error.where.endswith(f"devices.a.{foreign}")


def test_the_usual_port_need_not_be_written(tmp_path: Path) -> None:
    error = lab_error(tmp_path, device("a", host="pi") + device("b", host="pi", port=22))
    assert "'a' and 'b'" in error.what
    (tmp_path / "lab.toml").write_text(device("a", host="pi") + device("b", host="pi", port=2222) + device("c", host="pj"))
    assert len(read_lab(tmp_path / "lab.toml", {"board": board()})) == 3


@pytest.mark.parametrize(
    "text",
    [
        '[devices.a]\ntarget="board"\nhost="pi"\npassword="hunter2"\n',
        '[devices.a]\ntarget="board"\nhost="pi"\npassword=["hunter2"]\n',
        '[devices.a]\ntarget="board"\nhost="pi"\npassword={ env = "hunter2" }\n',
        '[[devices.a]]\ntarget="board"\nhost="pi"\npassword="hunter2"\n',
        '[[devices]]\npassword="hunter2"\n',
        '[devices.a]\ntarget="board"\nhost={ name="pi", password="hunter2" }\n',
        '[devices.a]\ntarget="board"\npasword="hunter2"\nhost="pi"\n',
        '[devices]\npassword="hunter2"\n',
    ],
)
def test_a_password_is_never_shown(text: str, tmp_path: Path) -> None:
    error = lab_error(tmp_path, text)
    assert "hunter2" not in str(error)
    assert "devices" in error.where


def test_a_password_that_is_written_out_is_told_how_to_be_given(tmp_path: Path) -> None:
    assert "env:" in lab_error(tmp_path, device("a", host="pi", password="hunter2")).next_step


def test_other_wrong_values_are_still_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        decode({"name": "p", "models": 3}, Project, file="f")
    assert caught.value.seen == "3"
    with pytest.raises(ConfigError) as caught:
        decode({"devices": [1]}, LabFile, file="f")
    assert caught.value.seen == "[1]"


def test_an_iphone_is_named_by_its_udid_and_the_mac_that_it_hangs_on(tmp_path: Path) -> None:
    targets = {"board": msgspec.structs.replace(board(), transports=("devicectl",))}
    file = tmp_path / "lab.toml"
    file.write_text(device("a", serial="0000-1", host="mac", user="me") + device("b", serial="0000-2"))
    one, two = read_lab(file, targets)
    assert (one.transport, one.address, one.through, one.user) == ("devicectl", "0000-1", "mac", "me")
    assert (two.address, two.through) == ("0000-2", "")
    file.write_text(device("a", host="mac"))
    with pytest.raises(ConfigError, match="'serial' is missing"):
        read_lab(file, targets)


# Modes.


def measured(text: str) -> MeasureOverride:
    data = tomllib.loads(f"{PROJECT}measure = {{ {text} }}\n")
    return decode(data, Project, file="p.toml").deploy[0].measure


def test_every_mode_has_settings_that_can_be_left_out() -> None:
    assert measured('mode = "burst"').burst is None
    found = measured('mode = "burst", burst = { bursts = 3, idle_s = 0.5 }').burst
    assert found is not None
    assert (found.bursts, found.idle_s, found.invocations) == (3, 0.5, 10)
    assert measured("concurrent = { busy = 0, command = 'stress' }").concurrent is not None


@pytest.mark.parametrize(
    "text",
    [
        'mode = "offline"',
        "mode = 1",
        "burst = { invocations = 0 }",
        "burst = { bursts = 1_000_000 }",
        "burst = { idle_s = 0 }",
        "burst = { idle_s = nan }",
        "burst = { idle_s = 600, bursts = 100 }",
        "burst = { seconds = 1 }",
        "sustained = { minutes = 0 }",
        "sustained = { minutes = -1 }",
        "sustained = { minutes = nan }",
        "sustained = { minutes = inf }",
        "sustained = { minutes = 61 }",
        "sustained = { slowdown = 0 }",
        "sustained = { slowdown = nan }",
        "cold = { starts = 0 }",
        "cold = { drop_caches = 1 }",
        "throughput = { instances = 0 }",
        "throughput = { instances = 65 }",
        "throughput = { seconds = nan }",
        "throughput = { seconds = 0 }",
        "concurrent = { busy = 0 }",
        "concurrent = { busy = 0, command = ' ' }",
        "concurrent = { busy = -1 }",
        "concurrent = { busy = 2000 }",
        "concurrent = { pairs = 1 }",
        'concurrent = { command = "a\\u0000b" }',
    ],
)
def test_settings_of_a_mode_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError, match=r".") as caught:
        measured(text)
    assert "deploy[0].measure." in caught.value.where


def test_a_bound_that_would_never_be_judged_is_refused() -> None:
    text = f"{PROJECT}budget = {{ throughput_per_s = 10 }}\n"
    with pytest.raises(ConfigError, match='mode = "throughput"') as caught:
        decode(tomllib.loads(text), Project, file="p.toml")
    assert caught.value.where == "p.toml: deploy[0].budget"
    assert decode(tomllib.loads(text.replace("{ ", '{ mode = "throughput", ')), Project, file="p.toml")
