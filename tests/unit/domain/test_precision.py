"""The table of precisions holds together."""

from __future__ import annotations

import pytest

from edgedeploy.domain.precision import PRECISIONS, floors_of, safer_precisions
from edgedeploy.domain.recipe import Floors, Recipe


@pytest.mark.parametrize("name", PRECISIONS)
def test_what_is_safer_ends_and_never_has_fewer_bits_nor_lower_floors(name: str) -> None:
    chain = safer_precisions(name)
    assert len(set(chain)) == len(chain)
    assert name not in chain
    steps = [PRECISIONS[one] for one in (name, *chain)]
    assert [one.weight_bits for one in steps] == sorted(one.weight_bits for one in steps)
    floors = [one.floors.min_sqnr_db or 0.0 for one in steps]
    assert floors == sorted(floors)


def test_a_recipe_with_floors_of_its_own_keeps_them_and_one_of_a_plugins_precision_has_none() -> None:
    own = Floors(max_abs_error=0.1)
    assert floors_of(Recipe(precision="int8", accept=own)) == own
    assert floors_of(Recipe(precision="int8")) == PRECISIONS["int8"].floors
    assert floors_of(Recipe(precision="nf4")) == Floors()
    assert safer_precisions("nf4") == ()
