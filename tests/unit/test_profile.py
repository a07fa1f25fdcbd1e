"""Real profiles, joined to what the exporter wrote down about the same artifacts.

The files in fixtures/profiles are what the native runners printed on a Linux desktop for the model ``Mixed`` of
tests/integration/tiny_models.py (ExecuTorch 1.5.1 in float32 and static int8, LiteRT 2.3.0), and its operators.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgedeploy.domain.artifact import DelegateGraph, Operator
from edgedeploy.domain.measurement import ProfiledOperator
from edgedeploy.profile import join

FOLDER = Path(__file__).parents[1] / "fixtures/profiles"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    profiled_ns: tuple[int, ...]
    operators: tuple[Operator, ...]
    delegate_graphs: tuple[DelegateGraph, ...]
    profiled: tuple[ProfiledOperator, ...]


def recorded(name: str) -> Recorded:
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=Recorded)


def ran_for(name: str) -> dict[str, tuple[str, ...]]:
    """Module path (``.tflite``: operator and place) → what ran for it, types left out."""
    one = recorded(name)
    found: dict[str, tuple[str, ...]] = {}
    for time in join(one.operators, one.delegate_graphs, one.profiled).times:
        if (operator := time.operator) is not None:
            key = operator.module or f"{operator.operator} {operator.name}"
            if name.endswith(".tflite"):
                key = f"{operator.operator} {operator.call}"
            found[key] = tuple(ran.partition(" (")[0] for ran in time.ran)
    return found


NAMES = ("mixed.pte", "mixed8.pte", "mixed.tflite")


@pytest.mark.parametrize("name", NAMES)
def test_times_add_up(name: str) -> None:
    one = recorded(name)
    profile = join(one.operators, one.delegate_graphs, one.profiled)
    assert sum(time.ns for time in profile.times) == profile.total_ns
    assert sum(time.share for time in profile.times) == pytest.approx(1)
    assert [time.ns for time in profile.times] == sorted((time.ns for time in profile.times), reverse=True)
    # Medians of parts against the whole: they need not be equal, and cannot be far apart.
    assert 0.5 * min(one.profiled_ns) < profile.total_ns < 1.1 * max(one.profiled_ns)


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_is_there_once(name: str) -> None:
    one = recorded(name)
    profile = join(one.operators, one.delegate_graphs, one.profiled)
    timed = [time.operator for time in profile.times if time.operator is not None]
    assert sorted([*timed, *profile.untimed], key=repr) == sorted(one.operators, key=repr)


def test_pte_in_float32() -> None:
    ran = ran_for("mixed.pte")
    assert ran["stem.0"] == ran["depthwise.0"] == ("Convolution",)
    assert ran["pointwise"] == ran["query"] == ran["key"] == ran["value"] == ran["head"] == ("Fully Connected",)
    assert ran["depthwise.1"] == ("HardSwish",)
    assert ran["pool"] == ("Mean",)
    assert ran["norm"] == ("native_layer_norm.out",)
    assert ran["aten.bmm aten_bmm_default"] == ran["aten.bmm aten_bmm_default_1"] == ("Batch Matrix Multiply",)


def test_pte_in_float32_what_was_fused_and_what_was_added() -> None:
    one = recorded("mixed.pte")
    profile = join(one.operators, one.delegate_graphs, one.profiled)
    assert [operator.module for operator in profile.untimed] == ["stem.1", "stem.2"], "folded into the convolution"
    added = {time.ran: time for time in profile.times if time.operator is None}
    assert set(added) == {("Transpose (ND, X32)",), ("DELEGATE_CALL",)}, "channels last; what the calls take beside"
    assert all(time.delegate == "XnnpackBackend" for time in added.values())


def test_pte_in_int8_has_conversions_with_their_operators() -> None:
    ran = ran_for("mixed8.pte")
    assert ran["stem.0"] == ("Convolution",)
    assert ran["query"] == ("Fully Connected", "Convert")
    assert ran["depthwise.1"] == ("Invalid Unary Op",), "a table; XNNPACK has no name for it"
    one = recorded("mixed8.pte")
    assert [row.module for row in join(one.operators, one.delegate_graphs, one.profiled).untimed] == ["stem.2"]


def test_tflite() -> None:
    ran = ran_for("mixed.tflite")
    own = {key: names for key, names in ran.items() if names[0] == key.partition(" ")[0]}
    assert sorted(own.values()) == [("CUMSUM",), ("FULLY_CONNECTED",)], "the product of two inputs is LiteRT's own kernel"
    assert [names for key, names in ran.items() if key.startswith("BATCH_MATMUL")] == [("Batch Matrix Multiply",)]
    assert {names for key, names in ran.items() if key.startswith("CONV_2D")} == {("Convolution",), ("Fully Connected",)}
    assert {names for key, names in ran.items() if key.startswith("MEAN")} == {("Mean",)}
    one = recorded("mixed.tflite")
    profile = join(one.operators, (), one.profiled)
    assert profile.untimed == ()
    assert {time.ran for time in profile.times if time.operator is None} == {("Static Reshape (NC)",)}


def test_sources_and_modules_arrive() -> None:
    one = recorded("mixed.pte")
    slowest = join(one.operators, one.delegate_graphs, one.profiled).times[0]
    assert slowest.operator is not None
    assert slowest.operator.operator == "aten.bmm"
    assert slowest.operator.source.startswith("tiny_models.py:")
    assert slowest.operator.macs == 256 * 256 * 48


def timed(
    name: str, call: int, *ns: int, step: int | None = None, sequence: int = 0, delegate: str | None = None
) -> ProfiledOperator:
    return ProfiledOperator(name=name, delegate=delegate, sequence=sequence, call=call, step=step, ns=ns)


def test_only_the_methods_own_operators_count() -> None:
    rows = [Operator(operator="aten.mul", call=0, method=method) for method in ("encode", "decode")]
    profile = join(rows, (), [timed("mul.out", 0, 5, 7, 6)], method="decode")
    assert [(time.operator, time.ns) for time in profile.times] == [(rows[1], 6)]


def test_a_delegate_that_tells_no_steps_is_one_row() -> None:
    rows = [Operator(operator="aten.mul", delegate="VulkanBackend", call=0), Operator(operator="aten.add", call=1)]
    profile = join(rows, (), [timed("DELEGATE_CALL", 0, 90, delegate="VulkanBackend"), timed("add.out", 1, 10)])
    assert [(time.operator, time.share) for time in profile.times] == [(None, 0.9), (rows[1], 0.1)]
    assert profile.untimed == (rows[0],)


def test_graphs_that_others_call_are_in_their_callers_time() -> None:
    rows = [Operator(operator="WHILE", call=0)]
    profile = join(rows, (), [timed("WHILE", 0, 100), timed("ADD", 0, 40, sequence=1)])
    assert [(time.operator, time.ns) for time in profile.times] == [(rows[0], 100)]


def test_no_profile_says_nothing() -> None:
    profile = join([Operator(operator="aten.add", call=0)], (), [])
    assert (profile.times, profile.untimed, profile.total_ns) == ((), (), 0)
