"""A plan on a terminal: readable at 80 columns, as lines where the table does not fit, and never guessing."""

from __future__ import annotations

import io

from rich.console import Console
from unit.stages.planned import FP32, INT8

from edgedeploy.domain.failure import Failure
from edgedeploy.domain.plan import ModelFacts, Obstacle, PlanLine, PlanReport, Prediction, Roofline
from edgedeploy.report.plan import print_plan

FACTS = ModelFacts(
    model="net",
    parameters=1_000_000,
    macs=2_000_000,
    operators=10,
    weight_bytes=4_000_000,
    weight_bytes_by_kind={"linear": 4_000_000},
    activation_bytes=1_000,
    state_bytes=0,
)
PREDICTION = Prediction(
    size_bytes=4_000_000,
    device_bytes=20_000_000,
    device_least_bytes=16_000_000,
    storage_bytes=4_000_000,
    export_peak_bytes=500_000_000,
    roofline=Roofline(compute_ns=3_000_000, memory_ns=1_000_000, bound="compute"),
)


def line(**changes: object) -> PlanLine:
    values = {
        "model": "net", "recipe": "fp32", "lane": FP32, "export_cached": False, "verify_cached": False, "size_bytes": None,
        "runtimes": (), "predicted": PREDICTION, "fits": "yes",
    }  # fmt: skip
    return PlanLine(**(values | changes))  # type: ignore[arg-type]


def printed(*runs: PlanLine, facts: ModelFacts = FACTS, width: int = 80) -> str:
    out = io.StringIO()
    report = PlanReport(edgedeploy="0", project="p", target="bench", host_memory_bytes=2_000_000_000, models=(facts,), runs=runs)
    print_plan(report, Console(file=out, width=width))
    return out.getvalue()


def test_a_table_at_80_columns() -> None:
    text = printed(line(), line(recipe="int8", lane=INT8, size_bytes=1_000_000, export_cached=True, verify_cached=True))
    assert max(map(len, text.splitlines())) <= 80
    rows = [row.split() for row in text.splitlines() if row.startswith("executorch")]
    assert rows[0][:3] == ["executorch-xnnpack-fp32", "4.00", "MB"]
    assert rows[1][:3] == ["executorch-xnnpack-int8", "1.00", "MB"]
    assert "exported and verified already: executorch-xnnpack-int8" in text
    assert "2.00 GB of memory free here" in text
    assert "1,000,000 parameters, 2,000,000 multiply-accumulates" in text


def test_lines_where_the_table_does_not_fit() -> None:
    text = printed(line(), width=40)
    assert "executorch-xnnpack-fp32  yes" in text
    assert "least 3.00 ms" in " ".join(text.split())


def test_obstacles_with_the_way_out() -> None:
    text = printed(line(fits="no", obstacles=(Obstacle(what="too large [bold]", where="model.py:3", next_step="prune it"),)))
    assert "net executorch-xnnpack-fp32: too large [bold]" in text
    assert "at model.py:3\n  next: prune it" in text


def test_what_is_unknown_is_said_once_for_all_lanes() -> None:
    import msgspec

    blind = msgspec.structs.replace(PREDICTION, roofline=Roofline(unknown=("soc.cores",)))
    text = printed(line(predicted=blind), line(recipe="int8", lane=INT8, predicted=blind))
    assert text.count("the target does not say: soc.cores") == 1


def test_models_nobody_has_counted_and_those_that_cannot_be() -> None:
    assert "not counted yet" in printed(line(predicted=None, fits="unknown"), facts=ModelFacts(model="net"))
    failure = Failure(kind="ExportError", exit_code=4, retryable=False, what="branches on data", where="", seen="", next_step="")
    assert "cannot be traced: branches on data" in printed(facts=ModelFacts(model="net", error=failure))


def test_every_table_stands_below_its_model() -> None:
    import msgspec

    out = io.StringIO()
    models = tuple(msgspec.structs.replace(FACTS, model=name) for name in ("one", "two"))
    runs = (line(model="one"), line(model="two", recipe="int8", lane=INT8))
    report = PlanReport(edgedeploy="0", project="p", target="bench", host_memory_bytes=None, models=models, runs=runs)
    print_plan(report, Console(file=out, width=80))
    words = out.getvalue()
    places = [words.index(word) for word in ("one\n", "executorch-xnnpack-fp32", "two\n", "executorch-xnnpack-int8")]
    assert places == sorted(places)


def test_what_is_gated_without_a_baseline_is_told_with_the_way_out() -> None:
    text = " ".join(printed(line(gated=True, baseline_sha256="a" * 64), line(recipe="int8", lane=INT8, gated=True)).split())
    assert "compared with their baselines when they are pushed: executorch-xnnpack-fp32" in text
    assert "net executorch-xnnpack-int8: gated, and without a baseline: it would not be pushed" in text
    assert "next: edgedeploy baseline set --target bench, or push with --no-gate" in text
