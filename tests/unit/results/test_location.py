"""Where histories are: the environment, then the project, then the user's state folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.results.location import URL_VARIABLE, default_url


@pytest.fixture(autouse=True)
def _no_url_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)


def test_the_state_folder_by_name_and_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    one = default_url(tmp_path / "one", "shop")
    other = default_url(tmp_path / "two", "shop")
    assert one.startswith("sqlite:///")
    assert one.endswith("history.sqlite")
    assert "shop-" in one
    assert one != other
    assert one == default_url(tmp_path / "one", "shop")
    assert not (tmp_path / "state").exists(), "asking makes nothing"


def test_the_environment_comes_before_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_url(tmp_path, "shop", configured="postgresql://db/shop") == "postgresql://db/shop"
    monkeypatch.setenv(URL_VARIABLE, "sqlite:////elsewhere/h.sqlite")
    assert default_url(tmp_path, "shop", configured="postgresql://db/shop") == "sqlite:////elsewhere/h.sqlite"


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ("sqlite:///history.sqlite", "sqlite:///{root}/history.sqlite"),
        ("sqlite+pysqlite:///sub/h.sqlite", "sqlite+pysqlite:///{root}/sub/h.sqlite"),
        ("sqlite:////abs/h.sqlite", "sqlite:////abs/h.sqlite"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("postgresql:///shop", "postgresql:///shop"),
    ],
)
def test_a_relative_file_is_the_projects(tmp_path: Path, configured: str, expected: str) -> None:
    assert default_url(tmp_path, "shop", configured=configured) == expected.format(root=tmp_path)
