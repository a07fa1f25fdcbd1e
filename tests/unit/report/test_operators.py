"""The lines that say what runs where."""

from __future__ import annotations

import msgspec
from unit.results.documents import measured_run

from edgedeploy.domain.artifact import Operator
from edgedeploy.domain.delegation import delegation_of
from edgedeploy.domain.operator_times import OperatorTime, Profile
from edgedeploy.domain.result import RunResult
from edgedeploy.report.operators import delegation_words, fallback_lines, slowest_lines

CONV = Operator(operator="aten.convolution", delegate="XnnpackBackend", macs=1000, source="net.py:3: `x = conv(x)`")
NORM = Operator(operator="aten.native_layer_norm", source="net.py:4: `x = norm(x)`")
COPY = Operator(operator="aten.expand_copy")


def run(*, profiled: bool) -> RunResult:
    times = (
        OperatorTime(operator=CONV, ran=("Convolution",), delegate="XnnpackBackend", ns=600, share=0.6),
        OperatorTime(operator=NORM, ran=("native_layer_norm.out",), delegate=None, ns=395, share=0.395),
        OperatorTime(operator=COPY, ran=("expand_copy.out",), delegate=None, ns=5, share=0.005),
    )
    return msgspec.structs.replace(
        measured_run(),
        delegation=delegation_of([CONV, NORM, COPY]),
        profile=Profile(times=times, untimed=(), total_ns=1000) if profiled else None,
    )


def test_delegated_share_in_one_line() -> None:
    delegation = run(profiled=False).delegation
    assert delegation is not None
    assert delegation_words(delegation) == "delegated: 1 of 3 operators, 100.0% of the compute (XnnpackBackend)"


def test_a_fallback_that_takes_time_is_named_with_its_line_and_one_that_does_not_is_not() -> None:
    assert list(fallback_lines(run(profiled=True))) == [
        "falls back: aten.native_layer_norm ×1, 40% of the time, net.py:4: `x = norm(x)`"
    ]
    assert list(fallback_lines(run(profiled=False))) == []


def test_the_slowest_come_with_their_lines() -> None:
    assert next(slowest_lines(run(profiled=True))) == "slowest: 60% (600 ns) aten.convolution, net.py:3: `x = conv(x)`"
    assert list(slowest_lines(measured_run())) == []
