"""Exports at once stay within the memory that is free, by what is predicted for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.stages.planned import Heard, planned, target

from edgedeploy.cache import Cache
from edgedeploy.domain.events import Note
from edgedeploy.stages import prepare as module
from edgedeploy.stages.prepare import Preparation

PEAKS = {"large": 3_000_000_000, "small": 500_000_000}


@pytest.fixture
def heard() -> Heard:
    return Heard()


def limit(
    monkeypatch: pytest.MonkeyPatch, folder: Path, heard: Heard, *models: str, free_bytes: int | None, jobs: int = 2
) -> int:
    monkeypatch.setattr(module, "available_memory_bytes", lambda: free_bytes)
    monkeypatch.setattr(module, "export_peak_bytes", lambda runs, *_: PEAKS[runs[0].model_name])
    made = Preparation(
        project="p", project_file=folder / "edgedeploy.toml", target=target(), cache=Cache(folder), jobs=jobs, sink=heard
    )
    return made._within_memory([[planned(model)] for model in models])


def test_two_that_fit_run_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heard: Heard) -> None:
    assert limit(monkeypatch, tmp_path, heard, "large", "small", free_bytes=3_600_000_000) == 2
    assert heard == []


def test_two_that_do_not_run_one_after_the_other_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heard: Heard
) -> None:
    assert limit(monkeypatch, tmp_path, heard, "large", "small", free_bytes=3_400_000_000) == 1
    (note,) = heard
    assert isinstance(note, Note)
    assert note.text == "1 at once instead of 2: an export may take 3.0 GB, and 3.4 GB are free"


def test_memory_that_is_not_known_limits_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, heard: Heard) -> None:
    assert limit(monkeypatch, tmp_path, heard, "large", "large", free_bytes=None) == 2
    assert limit(monkeypatch, tmp_path, heard, "large", free_bytes=1) == 2
    assert limit(monkeypatch, tmp_path, heard, "large", "large", free_bytes=1, jobs=1) == 1
