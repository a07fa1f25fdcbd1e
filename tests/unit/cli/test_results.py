"""``history`` and ``results`` on a history that is there: what they print, keep, and refuse."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from documents import contest, contests, failed_run, measured_run, spoken_run
from msgspec.structs import replace

from edgedeploy.cli import cli
from edgedeploy.config.schema import schema_of
from edgedeploy.domain.events import Event, Note
from edgedeploy.domain.result import RunResult
from edgedeploy.errors import EdgedeployError, UsageError
from edgedeploy.pipeline import Pipeline, _looked_back
from edgedeploy.results.comparisons import keep
from edgedeploy.results.store import ResultStore

LOG = "Inference timings in us: Init: 2500, First inference: 9000, Warmup (avg): 8200.5, Inference (avg): 8101.25\n"
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("EDGEDEPLOY_RESULTS_URL", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "model.py").write_text("")
    (folder / "edgedeploy.toml").write_text('name = "shop"\n[models.mobilenet]\nsource = "model.py:net"\n')
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def store(project: Path) -> ResultStore:
    return Pipeline.load(project).results()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def told(*arguments: str) -> str:
    done = call(*arguments)
    if done.exception is not None:
        raise done.exception
    assert done.exit_code == 0
    return done.stdout


def document(*arguments: str) -> dict:
    return json.loads(told(*arguments))


def days(*base_ns: int) -> list[RunResult]:
    return [
        measured_run(run_id=f"run-{day}", created_at=(START + dt.timedelta(days=day)).isoformat(), base_ns=one)
        for day, one in enumerate(base_ns)
    ]


def test_history_has_runs_series_and_comparisons_by_its_schema(store: ResultStore) -> None:
    for run in (*days(8_000_000, 9_000_000), failed_run()):
        store.add(run)
    keep(contests(contest("mobilenet"), contest("other")), "gate", store.comparisons)
    found = document("history", "--model", "mobilenet", "--json")
    jsonschema.validate(found, json.loads(schema_of("history")))
    assert [run["id"] for run in found["runs"]] == ["run-1", "b" * 32, "run-0"]
    assert [remark["kind"] for remark in found["runs"][0]["remarks"]] == ["unstable"]
    assert [series["runs"] for series in found["series"]] == [["run-0", "run-1"]]
    assert [past["contest"]["candidate"]["model"] for past in found["comparisons"]] == ["mobilenet"]
    text = told("history")
    assert "unstable" in text
    assert "other" in text


def test_a_run_that_is_not_shown_is_in_the_series_all_the_same(store: ResultStore) -> None:
    for run in days(8_000_000, 9_000_000):
        store.add(run)
    found = document("history", "--limit", "1", "--json")
    assert [run["id"] for run in found["runs"]] == ["run-1"]
    assert found["series"][0]["runs"] == ["run-0", "run-1"]


def test_a_report_tells_what_the_past_says(store: ResultStore, project: Path) -> None:
    for run in days(8_000_000, 9_000_000):
        store.add(run)
    told("report", "--format", "markdown", "-o", "page.md")
    assert "the same artifact was 12.2% faster in run run-0" in (project / "page.md").read_text()


@pytest.mark.parametrize(
    ("kind", "runs", "mark"),
    [
        ("oss-v3", 3, "FAILURE_REPORT"),
        ("tflite", 1, "latency_metrics"),
        ("mlperf", 2, "SingleStream"),
        ("csv", 3, "latency_p50_ns"),
        ("llama-bench", 1, "avg_ts"),
    ],
)
def test_every_format_is_written(store: ResultStore, project: Path, kind: str, runs: int, mark: str) -> None:
    for run in (measured_run(), failed_run(), replace(spoken_run(), id="spoken")):
        store.add(run)
    done = call("results", "export", "--format", kind)
    assert mark in done.stdout
    assert ("left out" in done.stderr) == (runs < 3)
    file = project / "out.txt"
    assert told("results", "export", "--format", kind, "-o", str(file)).strip() == str(file)
    assert file.read_text() == done.stdout


def test_export_takes_runs_and_filters(store: ResultStore) -> None:
    for run in days(8_000_000, 9_000_000):
        store.add(run)
    assert "run-0" in told("results", "export", "run-0", "--format", "csv")
    assert len(told("results", "export", "--format", "csv", "--model", "mobilenet", "--limit", "1").splitlines()) == 2
    with pytest.raises(EdgedeployError, match="nothing to export"):
        told("results", "export", "--format", "csv", "--model", "other")
    with pytest.raises(EdgedeployError, match="nothing to export") as caught:
        told("results", "export", "--format", "llama-bench")
    assert "none that llama-bench has a place for" in caught.value.seen


def test_what_is_imported_is_listed_apart_once(store: ResultStore, project: Path) -> None:
    for run in days(8_000_000):
        store.add(run)
    (project / "log.txt").write_text(LOG)
    arguments = ("results", "import", "log.txt", "--model", "mobilenet", "--target", "pixel8", "--device", "desk")
    assert "1 imported" in told(*arguments)
    assert "0 imported, 1 were there already" in told(*arguments)
    found = document("history", "--json")
    jsonschema.validate(found, json.loads(schema_of("history")))
    (item,) = found["imported"]
    assert (item["tool"], item["file"], item["device"]) == ("benchmark_model", "log.txt", "desk")
    assert item["measured"]["figures"]["iteration_mean_ns"] == 8_101_250
    assert "peak_memory_bytes" not in item["measured"]["figures"]
    assert [len(series["runs"]) for series in found["series"]] == [1]
    assert [run["id"] for run in found["runs"]] == ["run-0"]
    text = told("history")
    assert "imported; in no series, used by no gate" in text
    assert "mean 8.10 ms" in text
    assert "(benchmark_model, log.txt:1)" in text


def test_nothing_is_kept_when_one_file_is_bad(store: ResultStore, project: Path) -> None:
    (project / "log.txt").write_text(LOG)
    (project / "bad.txt").write_text("hello")
    with pytest.raises(UsageError, match="no tool whose output we know") as caught:
        told("results", "import", "log.txt", "bad.txt", "--model", "mobilenet", "--target", "pixel8")
    assert caught.value.where == "bad.txt:1"
    assert store.imports.newest() == ()


def test_a_misspelt_target_is_refused_and_an_unknown_model_noted(store: ResultStore, project: Path) -> None:
    (project / "log.txt").write_text(LOG)
    with pytest.raises(UsageError, match="pixle8"):
        told("results", "import", "log.txt", "--model", "mobilenet", "--target", "pixle8")
    done = call("results", "import", "log.txt", "--model", "gone", "--target", "pixel8", "--json")
    assert "no model of the project is called 'gone'" in done.stderr
    assert json.loads(done.stdout)["new"] == 1


def test_show_has_every_sample_of_a_run_a_comparison_and_what_was_imported(store: ResultStore, project: Path) -> None:
    for run in days(8_000_000):
        store.add(run)
    keep(contests(contest("mobilenet")), "compare", store.comparisons)
    (project / "log.txt").write_text(LOG)
    told("results", "import", "log.txt", "--model", "mobilenet", "--target", "pixel8")
    (item,) = store.imports.newest()
    assert len(document("results", "show", "run-0")["latency_ns"]["samples"]) == 300
    assert document("results", "show", "compare-")["contest"]["measured"][0]["turns"][0]["latency_ns"] == [5, 6]
    assert document("results", "show", item.id[:12])["measured"]["line"] == 1
    for nothing in ("x", ""):
        with pytest.raises(UsageError, match=f"no run '{nothing}'"):
            told("results", "show", nothing)
    keep(contests(contest("mobilenet")), "compare", store.comparisons)
    with pytest.raises(UsageError, match="several results begin with 'compare-'"):
        told("results", "show", "compare-")


def test_a_history_that_cannot_be_read_spoils_no_push(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise UsageError("the history cannot be used")

    monkeypatch.setattr(ResultStore, "runs", broken)
    seen: list[Event] = []
    assert _looked_back((measured_run(),), store, seen.append) == (measured_run(),)
    assert [event.level for event in seen if isinstance(event, Note)] == ["warning"]
