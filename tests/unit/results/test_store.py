"""The history: what goes in comes out, in order, from several processes, and it says so when it cannot."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import msgspec.structs
import pytest
from documents import failed_run, measured_run, runs
from hypothesis import HealthCheck, given, settings

from edgedeploy.domain.result import RunResult
from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.results.store import ResultStore

WRITER = """
import sys
import msgspec
from edgedeploy.domain.result import RunResult
from edgedeploy.results.store import ResultStore

print("ready", flush=True)
runs = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[RunResult, ...])
with ResultStore.open(sys.argv[1]) as store:
    for run in runs:
        store.add(run)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state' / 'history.sqlite'}"


@pytest.fixture
def store(url: str) -> Iterator[ResultStore]:
    with ResultStore.open(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResultStore]:
    with ResultStore.open(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'history.sqlite'}") as opened:
        yield opened


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(run=runs())
def test_any_document_comes_back_as_it_was(shared_store: ResultStore, run: RunResult) -> None:
    # hypothesis draws the same id for different documents, and the first of an id stays.
    run = msgspec.structs.replace(run, id=uuid.uuid4().hex)
    shared_store.add(run)
    back = shared_store.run(run.id)
    assert back == run
    assert msgspec.json.encode(back) == msgspec.json.encode(run)


def test_a_whole_measurement_survives_closing(url: str) -> None:
    run = measured_run()
    with ResultStore.open(url) as store:
        store.add(run)
    with ResultStore.open(url) as store:
        assert store.runs() == (run,)


def test_samples_are_kept_once_and_packed(store: ResultStore, tmp_path: Path) -> None:
    run = measured_run()
    store.add(run)
    with sqlite3.connect(tmp_path / "state" / "history.sqlite") as connection:
        (document,) = connection.execute("select document from edgedeploy_runs").fetchone()
        blobs = connection.execute("select latency_ns from edgedeploy_processes order by position").fetchall()
    connection.close()
    assert '"samples":[]' in document
    assert document.count('"latency_ns":[]') == 3
    assert [len(blob) for (blob,) in blobs] == [800, 800, 800]
    assert int.from_bytes(blobs[0][0][:8], "little") == run.processes[0].latency_ns[0]


def test_adding_twice_is_adding_once(store: ResultStore) -> None:
    store.add(measured_run())
    store.add(measured_run())
    assert len(store.runs()) == 1
    assert len(store.run("a" * 32).processes) == 3


def test_newest_first_across_time_zones_and_precisions(store: ResultStore) -> None:
    times = {
        "1": "2026-03-01T12:00:00+00:00",
        "2": "2026-03-01T14:30:00+02:00",
        "3": "2026-03-01T12:30:00.000001Z",
        "4": "2026-03-01T08:00:00-05:00",
    }
    for run_id, time in reversed(times.items()):
        store.add(measured_run(run_id=run_id, created_at=time, iterations=1))
    assert [run.id for run in store.runs()] == ["4", "3", "2", "1"]
    assert [run.id for run in store.runs(limit=2)] == ["4", "3"]


def test_filters_are_all_applied(store: ResultStore) -> None:
    store.add(measured_run(run_id="1", model="one", iterations=1))
    store.add(measured_run(run_id="2", model="two", device="other", iterations=1))
    store.add(failed_run(run_id="3"))
    assert [run.id for run in store.runs(model="one")] == ["1"]
    assert [run.id for run in store.runs(device="other", target="pixel8", project="shop")] == ["2"]
    assert [run.id for run in store.runs(lane="tflite-xnnpack-fp32")] == ["3"]
    assert store.runs(model="one", device="other") == ()
    assert store.runs(project="nobody's") == ()


def test_a_run_by_its_unique_prefix(store: ResultStore) -> None:
    for run_id in ("abc1", "abd2", "a%c3", "ab", "AC44"):
        store.add(measured_run(run_id=run_id, iterations=1))
    assert store.run("abc").id == "abc1"
    assert store.run("ab").id == "ab", "a whole id wins over being a prefix"
    assert store.run("a%").id == "a%c3"
    assert store.run("AC").id == "AC44"
    with pytest.raises(UsageError, match="several runs") as several:
        store.run("a")
    assert "abc1" in several.value.seen
    for unknown in ("", "zz", "_bc1", "ac"):
        with pytest.raises(UsageError, match="no run"):
            store.run(unknown)


def test_two_processes_write_at_once(url: str) -> None:
    batches = [[measured_run(run_id=f"{who}-{i}", iterations=20) for i in range(25)] for who in ("x", "y")]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in batches
    ]
    try:
        # Both are up before either is given something to write: they meet on the new file.
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        for writer, batch in zip(writers, batches, strict=True):
            assert writer.stdin is not None
            writer.stdin.write(msgspec.json.encode(batch))
            writer.stdin.close()
            writer.stdin = None
        said = [writer.communicate(timeout=60)[1].decode() for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    assert [writer.returncode for writer in writers] == [0, 0], said
    with ResultStore.open(url) as store:
        kept = store.runs(limit=1000)
    assert {run.id for run in kept} == {run.id for batch in batches for run in batch}
    assert all(len(run.processes) == 3 for run in kept)


def test_more_runs_than_a_query_takes_parameters(store: ResultStore) -> None:
    for number in range(510):
        store.add(measured_run(run_id=f"{number:04}", processes=1, iterations=1))
    kept = store.runs(limit=1000)
    assert len(kept) == 510
    assert all(len(run.processes) == 1 for run in kept)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    file.write_bytes(b"this is a note, not a database\n" * 200)
    before = file.read_bytes()
    with pytest.raises(UsageError, match="history cannot be used") as refused:
        ResultStore.open(f"sqlite:///{file}")
    assert refused.value.where == str(file)
    assert refused.value.next_step
    assert file.read_bytes() == before


def test_a_database_of_another_version(url: str, tmp_path: Path) -> None:
    ResultStore.open(url).close()
    with sqlite3.connect(tmp_path / "state" / "history.sqlite") as connection:
        connection.execute("update edgedeploy_schema set version = 99")
    connection.close()
    with pytest.raises(UsageError, match="another version") as refused:
        ResultStore.open(url)
    assert "99" in refused.value.seen
    assert "upgrade" in refused.value.next_step


def test_a_history_from_before_there_were_modes_is_taken_over(url: str, tmp_path: Path) -> None:
    old = measured_run(run_id="old", iterations=2)
    with ResultStore.open(url) as store:
        store.add(old)
    with sqlite3.connect(tmp_path / "state" / "history.sqlite") as connection:
        connection.execute("alter table edgedeploy_runs drop column mode")
        connection.execute("update edgedeploy_schema set version = 1")
    connection.close()
    with ResultStore.open(url) as store, ResultStore.open(url) as again:
        again.add(msgspec.structs.replace(old, id="new", mode="burst"))
        assert [run.id for run in store.runs(mode="single")] == ["old"]
        assert [run.id for run in store.runs(mode="burst")] == ["new"]
        assert store.run("old") == old


def test_a_document_nobody_can_read(store: ResultStore, tmp_path: Path) -> None:
    store.add(measured_run(iterations=1))
    with sqlite3.connect(tmp_path / "state" / "history.sqlite") as connection:
        connection.execute("update edgedeploy_runs set document = '{\"id\": 7}'")
    connection.close()
    with pytest.raises(UsageError, match="cannot be read") as refused:
        store.runs()
    assert refused.value.where.endswith("history.sqlite")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be made"):
        ResultStore.open(f"sqlite:///{tmp_path / 'file' / 'sub' / 'history.sqlite'}")


@pytest.mark.parametrize("url", ["", "nonsense", "nodb://host/x", "postgresql://user:hunter2@host:notaport/db"])
def test_urls_that_make_no_sense_and_no_password_in_the_message(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        ResultStore.open(url)
    assert "hunter2" not in str(refused.value)


def test_a_driver_that_is_not_installed() -> None:
    pytest.importorskip("sqlalchemy")
    with pytest.raises(MissingToolError) as missing:
        ResultStore.open("mysql+pymysql://user:hunter2@host/db")
    assert "pymysql" in missing.value.next_step
    assert "hunter2" not in str(missing.value)
