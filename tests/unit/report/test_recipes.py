"""Two recipes through one lane are told apart."""

from __future__ import annotations

import io

import msgspec
import pytest
from documents import measured_run, report_of
from rich.console import Console

from edgedeploy.report.terminal import print_report


@pytest.mark.parametrize("width", [60, 140, 220])
def test_a_recipe_that_is_not_the_precision_is_named(width: int) -> None:
    plain = measured_run()
    assert plain.recipe == plain.lane.precision
    out = io.StringIO()
    print_report(report_of(plain, msgspec.structs.replace(plain, recipe="pruned")), Console(file=out, width=width))
    lines = [line for line in out.getvalue().splitlines() if plain.lane.id in line]
    assert [f"{plain.lane.id} (pruned)" in line for line in lines] == [False, True]
