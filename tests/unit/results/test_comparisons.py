"""Comparisons beside runs: kept whole, listed without their latencies, in histories of before there were any, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import contest, contests, measured_run
from msgspec.structs import replace

from edgedeploy.errors import UsageError
from edgedeploy.results.comparisons import keep, whole
from edgedeploy.results.store import ResultStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'history.sqlite'}"


@pytest.fixture
def store(url: str) -> Iterator[ResultStore]:
    with ResultStore.open(url) as opened:
        yield opened


def test_a_comparison_is_listed_without_and_found_with_its_latencies(store: ResultStore) -> None:
    keep(contests(contest(), contest("other")), "gate", store.comparisons)
    assert len(store.comparisons.newest(project="shop", target="pixel8", device="desk")) == 2
    (past,) = store.comparisons.newest(model="net")
    assert (past.verb, past.model, past.device, past.contest) == ("gate", "net", "desk", replace(contest(), measured=()))
    ((found, bulk),) = store.comparisons.starting_with(past.id)
    assert whole(found, bulk).contest == contest()


def test_filters_are_all_applied(store: ResultStore) -> None:
    keep(contests(contest(), contest(device="other")), "compare", store.comparisons)
    assert len(store.comparisons.newest(device="other")) == 1
    assert len(store.comparisons.newest(limit=1)) == 1
    for nothing in ({"model": "x"}, {"target": "x"}, {"device": "x"}, {"project": "x"}):
        assert store.comparisons.newest(**nothing) == ()


def test_adding_twice_is_adding_once(store: ResultStore) -> None:
    keep(contests(contest()), "compare", store.comparisons)
    (past,) = store.comparisons.newest()
    assert store.comparisons.add(past) is False
    assert store.comparisons.newest() == (past,)


def test_the_table_is_made_by_the_first_comparison_only(store: ResultStore, tmp_path: Path) -> None:
    store.add(measured_run())
    assert store.comparisons.newest() == ()
    assert store.comparisons.starting_with("a") == ()
    with sqlite3.connect(tmp_path / "history.sqlite") as connection:
        names = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    assert names == {"edgedeploy_schema", "edgedeploy_runs", "edgedeploy_processes"}
    keep(contests(contest()), "compare", store.comparisons)
    assert store.run(measured_run().id)


def test_a_document_that_is_not_ours_is_told(store: ResultStore, tmp_path: Path) -> None:
    keep(contests(contest()), "compare", store.comparisons)
    with sqlite3.connect(tmp_path / "history.sqlite") as connection:
        connection.execute("""update edgedeploy_comparisons set document = '{"id": 3}'""")
    with pytest.raises(UsageError, match="in the history cannot be read") as caught:
        store.comparisons.newest()
    assert "edgedeploy_comparisons" in caught.value.where
