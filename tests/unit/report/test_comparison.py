"""What is printed of a comparison."""

from __future__ import annotations

from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from edgedeploy.domain.comparison import Comparison
from edgedeploy.domain.conditions import FixedClock, Start
from edgedeploy.domain.contest import CompareReport, Contender, Contest, Performance
from edgedeploy.domain.target import Lane
from edgedeploy.report.comparison import print_comparison

SIDE = Contender(
    origin="now",
    model="net",
    recipe="fp32",
    lane=Lane(exporter="executorch", backend="xnnpack", precision="fp32"),
    sha256="a" * 64,
    size_bytes=204_000,
)
RAN = Performance(
    runner="r 1", engine="e", engine_version="1", threads=1, latency_p50_ns=169_000, load_ns=1_000_000, peak_rss_bytes=9_000_000
)
RATIO = Comparison(
    figure="latency_p50",
    verdict="pass",
    tolerance=0.02,
    ratio=0.998,
    ci_low=0.981,
    ci_high=1.015,
    confidence=0.95,
    blocks=5,
    samples=28_549,
)


def printed(**changes: Any) -> str:
    contest = Contest(
        device="desk",
        base=SIDE,
        candidate=SIDE,
        verdict="pass",
        decided=(RATIO,),
        candidate_performance=RAN,
        **{"base_performance": RAN, **changes},
    )
    out = StringIO()
    report = CompareReport(edgedeploy="1", project="project", target="bench", comparisons=(contest,))
    print_comparison(report, Console(file=out, width=200))
    return out.getvalue()


def test_what_was_done_with_the_device_before_is_told() -> None:
    text = printed(start=Start(waited_s=12.0), fixed_clock=FixedClock(refused="it needs root"))
    assert "waited for: 12 s" in text
    assert "fixed clock: no: it needs root" in text


def test_of_a_language_model_tokens_per_second_are_told() -> None:
    spoke = msgspec.structs.replace(RAN, ttft_ns=340_000_000, decode_tokens_per_s=21.34)
    text = printed(base_performance=spoke)
    assert "now: 21.3 tok/s, TTFT 340 ms, p50 169 µs" in text
    assert text.count("TTFT") == 1


@pytest.mark.parametrize(
    ("same", "said"), [(True, "outputs are the same\n"), (False, "not the same, byte for byte"), (None, "not compared")]
)
def test_outputs_that_differ_are_told(same: bool | None, said: str) -> None:
    assert said in printed(same_outputs=same)
