"""A history is kept in the folder that is meant, whatever the folder is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.results.location import URL_VARIABLE, default_url
from edgedeploy.results.store import ResultStore

NAMES = ["a b", "what?x=1", "100%", "a%20b", "c#1", "käse", "a+b&c", "x;y"]


@pytest.fixture(autouse=True)
def _no_url_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_users_own_state_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / name
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    ResultStore.open(default_url(tmp_path, "shop")).close()
    assert len(list(state.glob("edgedeploy/shop-*/history.sqlite"))) == 1
    assert [item.name for item in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_file_in_a_project_of_that_name(name: str, tmp_path: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    ResultStore.open(default_url(root, "shop", configured="sqlite:///sub/h.sqlite?timeout=3")).close()
    assert (root / "sub/h.sqlite").is_file()
    assert [item.name for item in tmp_path.iterdir()] == [name]
