"""The committed table of the zoo: whole, its page made from it, and a sample of its cells true today."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORMATS = {"executorch", "tflite", "coreml"}
# Small ones: convolutions, and a model that PyTorch had quantized.
SAMPLE = ("keyword-spotting", "simple-model-converted")


@pytest.fixture(autouse=True)
def _scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/zoo"))
    for name in ("table", "page", "run"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def zoo():
    return importlib.import_module("table").read_zoo()


def test_twenty_models_and_more_through_three_formats(zoo) -> None:
    assert len({model.name for model in zoo.models}) >= 20
    per_model = Counter((cell.model, cell.exporter) for cell in zoo.cells)
    for model in zoo.models:
        for exporter in FORMATS:
            assert per_model[model.name, exporter] >= 2, f"{model.name} {exporter}"
    identities = Counter((cell.model, cell.exporter, cell.backend, cell.precision) for cell in zoo.cells)
    assert max(identities.values()) == 1
    assert {"torch", "executorch", "coremltools", "litert-torch"} <= set(zoo.toolchain)


def test_a_cell_has_its_figures_or_its_reason(zoo) -> None:
    for cell in zoo.cells:
        name = f"{cell.model} {cell.exporter} {cell.precision}"
        if cell.works:
            assert cell.problem is None, name
            assert cell.size_bytes, name
            assert cell.export_seconds is not None, name
            assert (cell.sqnr_db is None) == (cell.status == "exported") == (cell.note != ""), name
        else:
            assert cell.problem is not None, name
            assert cell.problem.what, name
            assert cell.problem.next_step, name
            assert cell.note == "", name
    assert {cell.exporter for cell in zoo.cells if cell.status == "exported"} == {"coreml"}


def test_nothing_of_the_machine_it_was_made_on_is_in_it() -> None:
    for file in ("zoo.json", "zoo.md"):
        text = (ROOT / "docs" / file).read_text()
        assert str(ROOT) not in text
        assert "site-packages" not in text
        assert "/tmp/" not in text


def test_the_page_is_made_from_the_table(zoo) -> None:
    page = importlib.import_module("page")
    assert (ROOT / "docs/zoo.md").read_text() == page.page(zoo)


def test_the_table_has_the_models_of_the_project(zoo) -> None:
    rows = importlib.import_module("run").rows()
    assert [(model.name, model.title) for model in zoo.models] == [(row.name, row.title) for row in rows]
    assert all(row.title for row in rows)


@pytest.mark.sdk
@pytest.mark.parametrize("model", SAMPLE)
def test_cells_come_out_as_the_table_says(zoo, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    again = importlib.import_module("run").make(model, ["fp32", "int8"])
    committed = {(c.exporter, c.precision): c for c in zoo.cells if c.model == model and c.precision in {"fp32", "int8"}}
    assert {(cell.exporter, cell.precision) for cell in again.cells} == set(committed)
    for cell in again.cells:
        before = committed[cell.exporter, cell.precision]
        assert cell.status == before.status
        if cell.size_bytes and before.size_bytes:
            assert abs(cell.size_bytes - before.size_bytes) <= 0.02 * before.size_bytes
        if cell.sqnr_db is not None and before.sqnr_db is not None:
            assert abs(cell.sqnr_db - before.sqnr_db) < 6  # another CPU's kernels sum in another order
