"""The doctor: what it concludes from what is there, without any SDK imported."""

from __future__ import annotations

import os
import stat
import sys
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from edgedeploy import doctor
from edgedeploy.cli.doctor import doctor as command
from edgedeploy.doctor import Check, Diagnosis, Found, LaneNeeds, Need, diagnose, examine
from edgedeploy.domain.target import Lane
from edgedeploy.errors import MissingToolError
from edgedeploy.ports import Lacking

PTE = Lane(exporter="executorch", backend="xnnpack", precision="fp32")
CORE = Lane(exporter="coreml", backend="mlprogram", precision="fp32")
SDKS = ("torch", "executorch", "torchao", "coremltools", "litert_torch", "ai_edge_litert", "ai_edge_quantizer")


def there(name: str, text: str = "1.0", other: str = "") -> Need:
    return Need(name, "exports", lambda: Found(text, other), f"pip install {name}")


def absent(name: str, install: str = "pip install it") -> Need:
    def probe() -> Found:
        raise MissingToolError("not installed", next_step="the probe's own advice")

    return Need(name, "exports", probe, install)


def lane(lane_of_it: Lane, *packages: str, runs_here: bool = True) -> LaneNeeds:
    return LaneNeeds(lane=lane_of_it, packages=packages, install=f"install {lane_of_it.exporter}", runs_here=runs_here)


def test_ready_when_one_lane_of_this_machine_has_everything() -> None:
    found = examine([there("python"), there("torch"), absent("coremltools")], [lane(PTE, "torch"), lane(CORE, "coremltools")])
    assert found.ready
    assert found.exit_code == 0
    assert [check.state for check in found.checks] == ["ok", "ok", "missing"]
    assert [(check.missing, check.install) for check in found.lanes] == [((), ""), (("coremltools",), "install coreml")]


def test_a_lane_that_only_runs_elsewhere_is_not_enough() -> None:
    found = examine([there("coremltools"), absent("torch")], [lane(CORE, "coremltools", runs_here=False), lane(PTE, "torch")])
    assert not found.ready
    assert found.exit_code == 3
    assert found.nearest is not None
    assert found.nearest.missing == ("torch",)


def test_without_the_basics_no_lane_is_ready() -> None:
    found = examine([absent("cache folder"), there("torch")], [lane(PTE, "torch")])
    assert not found.ready
    assert found.lanes[0].missing == ("cache folder",)


def test_a_vendors_sdk_is_asked_for_by_its_lanes_alone() -> None:
    npu = lane(PTE, "torch")._replace(lacking=Lacking(what="the vendor's compiler", how="ask the vendor"))
    found = examine([there("torch")], [npu, lane(PTE, "torch")])
    assert [(check.missing, check.install) for check in found.lanes] == [(("the vendor's compiler",), "ask the vendor"), ((), "")]
    both = examine([absent("torch")], [npu]).lanes[0]
    assert (both.missing, both.install) == (("torch", "the vendor's compiler"), "install executorch")


def test_another_version_is_told_and_does_not_block() -> None:
    found = examine([there("torch", "2.12.0", other="2.13.0")], [lane(PTE, "torch")])
    assert found.ready
    assert found.checks[0].state == "other version"
    assert found.checks[0].found == "2.12.0, tested with 2.13.0"
    assert found.checks[0].install == "pip install torch"


def test_a_probes_own_advice_is_taken_where_the_need_has_none() -> None:
    (check,) = examine([absent("adb", install="")], []).checks
    assert check.install == "the probe's own advice"


def test_versions_come_from_our_own_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["click>=8.1", "torch==2.13.0; extra == 'executorch'", 'Foo_Bar[x]==1.0 ; extra == "y"', "numpy<2.5,>=2"]
    monkeypatch.setattr(metadata, "requires", lambda _name: lines)
    assert doctor.wanted_versions() == {"click": ">=8.1", "torch": "==2.13.0", "foo_bar": "==1.0", "numpy": "<2.5,>=2"}

    def never_installed(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", never_installed)
    assert doctor.wanted_versions() == {}


@pytest.mark.parametrize(
    ("installed", "wanted", "other"),
    [
        ("2.13.0", "==2.13.0", ""),
        ("2.13.0+cpu", "==2.13.0", ""),
        ("2.12.1", "==2.13.0", "2.13.0"),
        ("9.1", ">=8", ""),
        ("9", "", ""),
    ],
)
def test_a_local_build_is_the_pinned_version(monkeypatch: pytest.MonkeyPatch, installed: str, wanted: str, other: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda _name: installed)
    assert doctor._installed("Torch", {"torch": wanted}) == Found(installed, other)


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(MissingToolError, match="not installed"):
        doctor._installed("no-such-distribution-here", {})


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says a version, and nothing else on PATH."""
    tool = tmp_path / "bin" / "gauge"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho\necho gauge 1.2.3\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tool.parent))
    return tool


def test_programs_are_found_and_asked(fake_tool: Path) -> None:
    assert doctor._program("gauge").text == str(fake_tool)
    assert doctor._program("gauge", "--version").text == f"gauge 1.2.3 at {fake_tool}"
    with pytest.raises(MissingToolError):
        doctor._program("no-such-program")


def test_a_program_that_fails_is_as_good_as_missing(fake_tool: Path) -> None:
    fake_tool.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    with pytest.raises(MissingToolError, match="ended with code 3"):
        doctor._program("gauge", "--version")


def test_adb_as_the_transport_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adb = tmp_path / "adb"
    adb.write_text("#!/bin/sh\necho 'Android Debug Bridge version 1.0.41'\necho 'Version 36.0.0-13206524'\n")
    adb.chmod(0o755)
    monkeypatch.setenv("EDGEDEPLOY_ADB", str(adb))
    assert doctor._adb().text == f"36.0.0-13206524 at {adb}"
    adb.chmod(0o644)
    with pytest.raises(MissingToolError):
        doctor._adb()


def test_folders_are_looked_at_and_not_made(tmp_path: Path) -> None:
    assert "GB free" in doctor._writable(tmp_path / "a" / "b").text
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    with pytest.raises(MissingToolError, match="not writable"):
        doctor._writable(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is writable for root")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(MissingToolError, match="not writable"):
        doctor._writable(tmp_path / "cache")


def test_the_real_machine_without_importing_an_sdk() -> None:
    before = set(sys.modules)
    found = diagnose()
    imported = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not imported & set(SDKS)
    names = [check.name for check in found.checks]
    assert len(names) == len(set(names))
    assert {"python", "torch", "executorch", "ai-edge-quantizer", "coremltools", "adb", "cmake", "Android NDK"} <= set(names)
    assert all(check.install for check in found.checks if check.state == "missing"), "each comes with the way to get it"
    assert {lane.lane for lane in found.lanes if lane.runs_here} >= {"executorch-xnnpack-fp32", "tflite-xnnpack-int8"}
    assert not any(lane.runs_here for lane in found.lanes if lane.lane.startswith("coreml"))


NOT_READY = Diagnosis(
    ready=False,
    checks=(
        Check(name="python", needed_for="everything", state="ok", found="3.11.7", install=""),
        Check(
            name="torch",
            needed_for="exports",
            state="missing",
            found="not installed",
            install="pip install " + "x" * 120,
        ),
    ),
    lanes=(doctor.LaneCheck(lane=PTE.id, runs_here=True, missing=("torch",), install="pip install 'edgedeploy[executorch]'"),),
)


def test_the_command_says_what_is_missing_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda: NOT_READY)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert "No lane can run here yet" in lines[0]
    assert "torch" in result.stdout.split("\n\n")[0]
    assert "  pip install 'edgedeploy[executorch]'" in lines
    assert "  pip install " + "x" * 120 in lines, "a command stays on one line"
    assert "\x1b" not in result.stdout


def test_the_command_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda: NOT_READY)
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 3
    assert msgspec.json.decode(result.stdout, type=Diagnosis) == NOT_READY
    assert msgspec.json.decode(result.stdout)["schema"] == "edgedeploy.doctor/1"
