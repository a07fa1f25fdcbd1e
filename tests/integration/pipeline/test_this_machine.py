"""The main job on the embedded target, through the command line, with real SDKs and runners."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from integration.pipeline.command import EDGEDEPLOY, Run

from edgedeploy.config.schema import schema_of

pytestmark = pytest.mark.sdk

TWO_MODELS = """\
name = "two"

[models]
net = { source = "model.py:net" }
other = { source = "other.py:net" }

[[deploy]]
model = "net"
targets = ["linux-x86_64"]
exporters = ["executorch"]

[[deploy]]
model = "other"
targets = ["linux-x86_64"]
exporters = ["executorch"]
"""


def test_push_measures_every_lane_and_the_second_push_sends_and_exports_nothing(run: Run, project: Path) -> None:
    first = run("push", "--target", "this-machine", "--json", cwd=project)
    assert first.exit_code == 0, first.stderr
    second = run("push", "--target", "this-machine", "--json", cwd=project)
    assert second.exit_code == 0, second.stderr
    document = second.document
    jsonschema.validate(document, json.loads(schema_of("push")))
    assert document["schema"] == "edgedeploy.push/2"
    assert [r["lane"]["exporter"] for r in document["runs"]] == ["executorch", "tflite"]
    for result in document["runs"]:
        assert result["verdict"] == {"status": "pass", "reasons": []}
        assert result["push"]["bytes_sent"] == 0
        assert result["push"]["bytes_total"] > result["artifact"]["size_bytes"]
        assert result["artifact"]["export_cached"]
        assert result["device_sha256"] == result["artifact"]["sha256"]
        for place in ("host", "device"):
            assert result["verify"][place]["sqnr_db"] > 100
            assert result["verify"][place]["max_abs_error"] < 1e-5
        samples = result["latency_ns"]["samples"]
        assert len(samples) == 300
        assert all(isinstance(sample, int) and sample > 0 for sample in samples)
        assert min(samples) <= result["latency_ns"]["p50"] <= result["latency_ns"]["p90"] <= result["latency_ns"]["p99"]
        assert result["load_ns"] > 0
        assert result["peak_rss_bytes"] > 1_000_000
        assert result["environment"]["before"]["os"] == "linux"
        assert len(result["processes"]) == 3


def test_history_report_and_store_keep_every_sample(run: Run, project: Path, tmp_path: Path) -> None:
    assert run("push", "--target", "this-machine", cwd=project).exit_code == 0
    history = run("history", "--json", cwd=project).document
    listed = history["runs"]
    assert len(listed) == 2
    assert sorted(series["runs"] for series in history["series"]) == sorted([run["id"]] for run in listed)
    assert all(series["environment"]["runtime"] and series["p50_ns"][0] > 0 for series in history["series"])
    assert len(listed[0]["latency_ns"]["samples"]) == 300
    assert "executorch-xnnpack-fp32" in run("history", cwd=project).stdout
    page = tmp_path / "page.html"
    done = run("report", "-o", str(page), cwd=project)
    assert done.stdout.strip() == str(page)
    assert "<svg" in page.read_text()
    for kind, mark in (("junit", "<testsuite"), ("markdown", "| net")):
        assert run("report", "--format", kind, "-o", str(page), cwd=project).exit_code == 0
        assert mark in page.read_text()
    (database,) = Path(os.environ["XDG_STATE_HOME"]).rglob("history.sqlite")
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from edgedeploy_runs").fetchone() == (2,)


def test_dry_run_says_what_is_cached_and_does_nothing(run: Run, project: Path, scratch_project: Path) -> None:
    run("push", "--target", "this-machine", cwd=project)
    plan = run("push", "--target", "this-machine", "--dry-run", "--json", cwd=project).document
    assert [line["export_cached"] for line in plan["runs"]] == [True, True]
    (scratch_project / "model.py").write_text((project / "model.py").read_text().replace("Linear(8, 10)", "Linear(8, 11)"))
    plan = run("push", "--target", "this-machine", "--dry-run", "--json", cwd=scratch_project).document
    assert [line["export_cached"] for line in plan["runs"]] == [False, False]


def test_a_plan_counts_the_model_once_and_says_what_is_unknown(run: Run, scratch_project: Path) -> None:
    dry = run("push", "--target", "raspberry-pi-5", "--dry-run", "--json", cwd=scratch_project).document
    assert (dry["schema"], dry["models"][0]["parameters"], dry["runs"][0]["fits"]) == ("edgedeploy.plan/2", None, "unknown")
    plan = run("plan", "--target", "raspberry-pi-5", "--json", cwd=scratch_project).document
    (model,), (line,) = plan["models"], plan["runs"]
    assert model["parameters"] == 8 * 27 + 8 + 16 + 90
    assert model["macs"] == 16 * 16 * 8 * 27 + 80
    assert line["fits"] == "yes"
    assert line["predicted"]["roofline"]["unknown"] == []
    assert line["predicted"]["roofline"]["bound"] in {"compute", "memory"}
    again = run("plan", "--target", "this-machine", cwd=scratch_project)
    assert "cached" in again.stderr
    assert "the target does not say: soc.cores" in again.stdout
    # A dry run knows by now, too.
    assert run("push", "--target", "raspberry-pi-5", "--dry-run", "--json", cwd=scratch_project).document["runs"] == plan["runs"]


def test_a_changed_file_beside_the_model_is_noticed(run: Run, scratch_project: Path) -> None:
    weights = scratch_project / "scale.txt"
    weights.write_text("2.0")
    source = scratch_project / "model.py"
    source.write_text(source.read_text().replace("    module =", "    scale = float(open('scale.txt').read())\n    module ="))
    export = ("export", "--target", "linux-x86_64", "--json")
    assert not run(*export, cwd=scratch_project).document["runs"][0]["artifact"]["export_cached"]
    assert run(*export, cwd=scratch_project).document["runs"][0]["artifact"]["export_cached"]
    weights.write_text("3.0")
    assert not run(*export, cwd=scratch_project).document["runs"][0]["artifact"]["export_cached"]


def test_a_change_of_one_model_rebuilds_only_its_artifacts(run: Run, scratch_project: Path) -> None:
    source = scratch_project / "model.py"
    (scratch_project / "other.py").write_text(source.read_text())
    (scratch_project / "edgedeploy.toml").write_text(TWO_MODELS)
    export = ("export", "--target", "linux-x86_64", "--json")

    def cached() -> dict[str, bool]:
        return {r["model"]: r["artifact"]["export_cached"] for r in run(*export, cwd=scratch_project).document["runs"]}

    assert cached() == {"net": False, "other": False}
    assert cached() == {"net": True, "other": True}
    source.write_text(source.read_text().replace("nn.ReLU()", "nn.Sigmoid()"))
    assert cached() == {"net": False, "other": True}


def test_core_ml_is_exported_and_inspected_and_said_to_be_unverified(run: Run, scratch_project: Path) -> None:
    file = scratch_project / "edgedeploy.toml"
    file.write_text(file.read_text() + '[[deploy]]\nmodel = "net"\ntargets = ["iphone15"]\nrecipes = ["int8"]\n')
    done = run("export", "--target", "iphone15", "-o", "out", "--json", cwd=scratch_project)
    assert done.exit_code == 0, done.stderr
    (result,) = done.document["runs"]
    assert result["lane"]["exporter"] == "coreml"
    assert result["verify"]["host"] is None
    assert "not" in result["verify"]["note"]
    assert result["artifact"]["inspection"]
    assert (scratch_project / "out/net/int8/coreml-mlprogram-int8/model.mlpackage/Manifest.json").is_file()
    refused = run("push", "--target", "iphone15", cwd=scratch_project)
    assert refused.exit_code == 5
    assert "no unit of iphone15 is reachable" in refused.stderr


def test_a_budget_that_is_missed_fails_the_gate(run: Run, scratch_project: Path) -> None:
    file = scratch_project / "edgedeploy.toml"
    text = file.read_text().replace(
        'exporters = ["executorch", "tflite"]', 'exporters = ["tflite"]\nbudget = { size_mb = 0.001 }'
    )
    file.write_text(text)
    done = run("push", "--target", "this-machine", "--json", cwd=scratch_project)
    assert done.exit_code == 1
    assert "size_mb" in done.document["runs"][0]["verdict"]["reasons"][0]


def test_no_measure_only_deploys(run: Run, project: Path) -> None:
    done = run("push", "--target", "this-machine", "--no-measure", "--json", cwd=project)
    assert done.exit_code == 0
    for result in done.document["runs"]:
        assert result["verdict"]["status"] == "unmeasured"
        assert result["latency_ns"] is None
        assert result["push"]["release"] >= 1


def test_init_writes_a_project_that_works_unchanged(run: Run, tmp_path: Path) -> None:
    assert run("init", "fresh", cwd=tmp_path).exit_code == 0
    done = run("push", "--target", "this-machine", "--json", cwd=tmp_path / "fresh")
    assert done.exit_code == 0, done.stderr
    assert done.document["runs"]
    again = run("init", "fresh", cwd=tmp_path)
    assert again.exit_code == 2
    assert "edgedeploy.toml" in again.stderr


def test_the_script_of_the_readme_does_what_the_command_does(run: Run, project: Path, cache_home: Path) -> None:
    readme = Path(__file__).parents[3] / "README.md"
    script = next(block for block in readme.read_text().split("```python\n") if "Pipeline.load" in block).split("```")[0]
    assert len(script.strip().splitlines()) <= 12
    run("push", "--target", "this-machine", cwd=project)
    done = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "net executorch-xnnpack-fp32 this-machine pass" in done.stdout


def test_ctrl_c_in_an_export_leaves_nothing_half_done(scratch_project: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [EDGEDEPLOY, "export", "--target", "linux-x86_64"],
        cwd=scratch_project,
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "loading the model" in line:
            break
    workers = _children(process.pid)
    assert workers
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert "interrupted" in process.stderr.read()
    assert not list((cache / "edgedeploy").glob("scratch-*"))
    assert not (cache / "edgedeploy/exports").exists()
    _expect_gone(workers)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _expect_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived the command"
        time.sleep(0.05)
