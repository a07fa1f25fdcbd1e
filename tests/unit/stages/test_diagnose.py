"""Where an error begins, told from the agreement of layers."""

from __future__ import annotations

import pytest

from edgedeploy.domain.measurement import Layer, LayerAgreement
from edgedeploy.stages.diagnose import where_error_grows


def layer(name: str, sqnr_db: float | None, *, finite: bool = True) -> LayerAgreement:
    where = Layer(method="forward", module=name, kind="Linear", source="model.py:7: `x = self.fc(x)`")
    return LayerAgreement(layer=where, sqnr_db=sqnr_db, exact=finite and sqnr_db is None, finite=finite)


@pytest.mark.parametrize(
    ("layers", "least_db", "said"),
    [
        ([("a", 66.0), ("b", 64.0), ("c", 3.0), ("d", -5.0)], 30, "begins in c (Linear, model.py:7"),
        ([("a", 66.0), ("b", 64.0), ("c", 3.0)], 30, "3.0 dB in its output, 64.0 dB in the layer before"),
        # A layer may be far off and its sum with a larger one right: what counts is that it stays below the floor.
        ([("a", 66.0), ("b", 40.0), ("c", 5.0)], 15, "begins in c"),
        ([("a", 2.0), ("b", 1.0)], 15, "begins in a (Linear, model.py:7: `x = self.fc(x)`): 2.0 dB in its output, the first"),
        ([("a", None), ("b", 20.0), ("c", 14.0)], 15, "the largest fall, 6.0 dB, is in c"),
        (
            [("a", 28.0), ("b", 21.0), ("c", 14.0)],
            15,
            "no single layer loses it: 28.0 dB in the first layer, 14.0 dB in the last",
        ),
        ([("a", 28.0)], None, "no single layer loses it"),
    ],
)
def test_the_first_layer_that_loses_it_is_named(
    layers: list[tuple[str, float | None]], least_db: float | None, said: str
) -> None:
    assert said in where_error_grows([layer(name, level) for name, level in layers], least_db)


def test_nan_begins_somewhere_whatever_the_floors() -> None:
    said = where_error_grows([layer("a", 60.0), layer("b", None, finite=False), layer("c", None, finite=False)], None)
    assert said.startswith("the error begins in b")
    assert "NaN" in said


def test_without_layers_nothing_is_said() -> None:
    assert where_error_grows([], 15) == ""
