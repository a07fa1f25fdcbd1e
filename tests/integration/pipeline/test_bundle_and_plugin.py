"""Installed as users install it: a core without SDKs that pushes a bundle, and a plug-in beside edgedeploy."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.pipeline.command import Finished, Run

REPOSITORY = Path(__file__).parents[3]
pytestmark = pytest.mark.sdk

CoreOnly = Callable[..., Finished]


def pip(*arguments: str, python: Path | None = None) -> None:
    """Install with this environment's pip, into another one if ``python`` is given."""
    command = [sys.executable, "-m", "pip", *(["--python", str(python)] if python else []), "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own with edgedeploy as its wheel has it, and no extra."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder, with_pip=False, symlinks=True)
    pip(str(REPOSITORY), python=folder / "bin/python")
    return folder


@pytest.fixture
def core_only(core: Path, tmp_path: Path) -> CoreOnly:
    """Runs the core's ``edgedeploy``, with an empty cache: what it needs it has from the bundle."""

    def call(*arguments: str, program: str = "edgedeploy", cwd: Path = tmp_path) -> Finished:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [core / "bin" / program, *arguments],
            cwd=cwd,
            env=environment | {"XDG_CACHE_HOME": str(tmp_path / "empty-cache")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr or program != "edgedeploy", done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def bundle(run: Run, project: Path, tmp_path: Path) -> Path:
    """What the full environment exported."""
    done = run("export", "--target", "this-machine", "-o", str(tmp_path / "dist"), cwd=project)
    assert done.exit_code == 0, done.stderr
    return tmp_path / "dist"


def test_the_wheel_has_everything_that_is_not_python(core: Path, core_only: CoreOnly) -> None:
    (package,) = core.glob("lib/python*/site-packages/edgedeploy")

    def files(folder: Path) -> set[str]:
        found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
        return {str(file) for file in found if "__pycache__" not in file.parts}

    for name in ("targets", "templates", "runner"):
        assert files(package / "_shipped" / name) == files(REPOSITORY / name) != set()
    assert files(package / "config/schemas") == files(REPOSITORY / "edgedeploy/config/schemas") != set()
    assert (package / "py.typed").is_file()
    assert (package / "agent/edgedeploy_agent.py").is_file()
    listed = core_only("targets").stdout
    assert all(file.stem in listed for file in (REPOSITORY / "targets").glob("*.toml"))
    assert core_only("init", "fresh").exit_code == 0


def test_the_core_has_no_sdk_and_says_how_to_get_one(core_only: CoreOnly, tmp_path: Path) -> None:
    for module in ("torch", "executorch", "coremltools", "litert_torch", "ai_edge_litert"):
        done = core_only("-c", f"import {module}", program="python")
        assert f"No module named '{module}'" in done.stderr
    assert core_only("init", "fresh").exit_code == 0
    refused = core_only("push", "--target", "this-machine", cwd=tmp_path / "fresh")
    assert refused.exit_code == 3
    assert "pip install 'edgedeploy[" in refused.stderr
    assert "--bundle" in refused.stderr
    assert core_only("push", "--target", "this-machine", "--dry-run", cwd=tmp_path / "fresh").exit_code == 0
    assert core_only("doctor").exit_code == 3


def test_a_bundle_is_pushed_measured_and_reported_without_an_sdk(core_only: CoreOnly, bundle: Path, tmp_path: Path) -> None:
    first = core_only("push", "--bundle", str(bundle), "--json")
    assert first.exit_code == 0, first.stderr
    runs = first.document["runs"]
    assert [result["lane"]["exporter"] for result in runs] == ["executorch", "tflite"]
    for result in runs:
        assert result["verdict"]["status"] == "pass"
        assert result["verify"]["device"]["sqnr_db"] > 100
        assert len(result["latency_ns"]["samples"]) == 300
        assert result["device_sha256"] == result["artifact"]["sha256"]
        assert "python" not in result["environment"]["runner"]
    assert sum(result["push"]["bytes_sent"] for result in runs) > sum(result["artifact"]["size_bytes"] for result in runs)
    second = core_only("push", "--bundle", str(bundle), "--json", "--no-measure")
    assert [result["push"]["bytes_sent"] for result in second.document["runs"]] == [0, 0]
    assert len(core_only("history", "--bundle", str(bundle), "--json").document["runs"]) == 4
    listed = core_only("history", "--bundle", str(bundle))
    assert "executorch-xnnpack-fp32" in listed.stdout
    for kind, mark in (("html", "<svg"), ("junit", "<testsuite"), ("markdown", "| net")):
        page = tmp_path / f"page.{kind}"
        done = core_only("report", "--bundle", str(bundle), "--format", kind, "-o", str(page), runs[0]["id"])
        assert done.exit_code == 0, done.stderr
        assert mark in page.read_text()


@pytest.mark.parametrize("pattern", ["net/fp32/*/model.pte", "net/fp32/*/golden/forward-0-reference_0.bin", "runners/*/*"])
def test_an_altered_bundle_is_refused_before_anything_is_sent(core_only: CoreOnly, bundle: Path, pattern: str) -> None:
    file = min(path for path in bundle.glob(pattern) if path.is_file())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    done = core_only("push", "--bundle", str(bundle))
    assert done.exit_code == 2
    assert "missing or was altered" in done.stderr
    assert file.name in done.stderr
    file.unlink()
    assert core_only("push", "--bundle", str(bundle)).exit_code == 2
    assert not (Path.home() / ".cache/edgedeploy/this-machine").exists()


def test_a_bundle_goes_only_where_it_was_made_for(core_only: CoreOnly, bundle: Path) -> None:
    done = core_only("push", "--bundle", str(bundle), "--target", "pixel8")
    assert done.exit_code == 2
    assert "the bundle was exported for this-machine, not for pixel8" in done.stderr


def test_the_example_plug_in_brings_a_target_and_an_exporter(run: Run, tmp_path: Path, project: Path) -> None:
    pip("--no-deps", "--target", str(tmp_path / "plugins"), str(REPOSITORY / "examples/plugin"))
    there = {"PYTHONPATH": str(tmp_path / "plugins")}
    assert run("targets", "show", "this-machine-portable", cwd=tmp_path).exit_code == 2
    shown = run("targets", "show", "this-machine-portable", cwd=tmp_path, **there)
    assert shown.exit_code == 0, shown.stderr
    assert str(tmp_path / "plugins/edgedeploy_portable/targets/this-machine-portable.toml") in shown.stdout
    assert "this-machine-portable" in run("targets", cwd=tmp_path, **there).stdout
    file = project / "edgedeploy.toml"
    file.write_text(file.read_text() + '[[deploy]]\nmodel = "net"\ntargets = ["this-machine-portable"]\n')
    done = run("push", "--target", "this-machine-portable", "--json", cwd=project, **there)
    assert done.exit_code == 0, done.stderr
    (result,) = done.document["runs"]
    assert result["lane"] == {"exporter": "portable", "backend": "portable", "precision": "fp32"}
    assert (result["target"], result["device"]) == ("this-machine-portable", "this-machine")
    assert result["verdict"]["status"] == "pass"
    assert result["verify"]["device"]["sqnr_db"] > 100
    assert result["artifact"]["inspection"]["operators"]
