"""What reports say about a verification beyond its one figure."""

from __future__ import annotations

import msgspec
import pytest
from unit.results.documents import measured_run, report_of

from edgedeploy.domain.measurement import (
    Agreement,
    Layer,
    LayerAgreement,
    MetricResult,
    OutputAgreement,
    RuntimeAgreement,
    WarmUp,
)
from edgedeploy.domain.result import RunResult, Verification
from edgedeploy.report.github import step_summary
from edgedeploy.report.html import render_html
from edgedeploy.report.junit import junit_xml
from edgedeploy.report.words import cold_load_words, measured_words, verification_words


def output(name: str, sqnr_db: float | None, *, finite: bool = True, top1: float | None = None) -> OutputAgreement:
    return OutputAgreement(
        name=name,
        max_abs_error=0.0 if finite else None,
        cosine=1.0 if finite else None,
        sqnr_db=sqnr_db,
        exact=finite and sqnr_db is None,
        finite=finite,
        top1=top1,
    )


def agreement(*outputs: OutputAgreement, sqnr_db: float | None = 20.0, top1: float | None = None) -> Agreement:
    return Agreement(max_abs_error=0.1, cosine=0.99, sqnr_db=sqnr_db, exact=False, top1=top1, outputs=outputs)


GOOD = agreement(output("logits", 31.0, top1=0.975), output("boxes", 20.0), output("count", None), top1=0.975)
METRIC = MetricResult(metric="accuracy", higher_is_better=True, reference=0.93, value=0.9, drop=0.03, calls=500)


def test_the_weakest_output_the_classes_and_the_metric_are_said() -> None:
    assert verification_words(Verification(host=GOOD, metric=METRIC)) == (
        "host: the class is PyTorch's in 97.5% of the cases",
        "host: the weakest of 3 outputs is boxes, 20.0 dB",
        "accuracy: 0.9, by PyTorch 0.93 (500 inputs)",
    )


def test_nan_is_the_weakest_of_all() -> None:
    broken = Agreement(
        max_abs_error=None,
        cosine=None,
        sqnr_db=None,
        exact=False,
        finite=False,
        outputs=(output("logits", -5.0), output("boxes", None, finite=False)),
    )
    assert verification_words(Verification(device=broken)) == ("device: the weakest of 2 outputs is boxes, NaN or infinity",)


def test_several_runtimes_are_told_apart() -> None:
    runtimes = (
        RuntimeAgreement(runtime="litert 2.3.0", agreement=agreement(sqnr_db=43.0)),
        RuntimeAgreement(runtime="litert tflite-runtime 2.14.0", agreement=agreement(sqnr_db=1.0)),
    )
    first, second = verification_words(Verification(runtimes=runtimes))
    assert first.startswith("litert 2.3.0: 43.0 dB")
    assert second.startswith("litert tflite-runtime 2.14.0: 1.0 dB")


def test_one_plain_output_needs_no_more_words() -> None:
    assert verification_words(Verification(host=agreement(output("output_0", 20.0)))) == ()


def restless(run: RunResult) -> RunResult:
    warm_up = WarmUp(iterations=400, steady_since=None)
    first, *others = run.processes
    return msgspec.structs.replace(run, processes=(msgspec.structs.replace(first, warm_up=warm_up), *others))


def test_a_process_that_never_became_steady_is_told_of() -> None:
    words = "1 of 3 processes never became steady"
    assert measured_words(measured_run()) == ()
    run = restless(measured_run())
    assert measured_words(run) == (f"{words} in their warm-up",)
    for text in (step_summary(report_of(run)), junit_xml(report_of(run)), render_html((run,), title="a report")):
        assert words in text.replace("\\", "")


@pytest.mark.parametrize(
    ("load_cold_ns", "cached", "words"),
    [
        (41_200_000, 0.0, "41.2 ms"),
        (41_200_000, 0.125, "41.2 ms (12.5% still cached)"),
        (41_200_000, None, "41.2 ms (perhaps cached)"),
        (None, None, "–"),
    ],
)
def test_how_cold_a_load_was(load_cold_ns: int | None, cached: float | None, words: str) -> None:
    run = msgspec.structs.replace(measured_run(), load_cold_ns=load_cold_ns, load_cold_cached=cached)
    assert cold_load_words(run) == words
    assert words in render_html((run,), title="a report")


def test_every_report_has_them() -> None:
    layer = Layer(method="forward", module="encoder.norm", kind="LayerNorm", source="model.py:7: `x = self.norm(x)`")
    layers = (LayerAgreement(layer=layer, sqnr_db=3.0, exact=False, finite=True),)
    verify = Verification(host=GOOD, device=GOOD, metric=METRIC, layers=layers)
    run = msgspec.structs.replace(measured_run(), verify=verify)
    for text in (step_summary(report_of(run)), junit_xml(report_of(run)), render_html((run,), title="a report")):
        assert "accuracy: 0.9, by PyTorch 0.93" in text.replace("\\", "")
    assert "encoder.norm (LayerNorm)" in render_html((run,), title="a report")
