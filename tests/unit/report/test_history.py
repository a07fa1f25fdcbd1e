from __future__ import annotations

import io

import pytest
from documents import failed_run, measured_run
from msgspec.structs import replace
from rich.console import Console

from edgedeploy.domain.comparison import Comparison
from edgedeploy.domain.contest import Contender, Contest
from edgedeploy.domain.history import HistoryReport, PastComparison
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.target import Lane
from edgedeploy.report.history import print_history
from edgedeploy.results.series import series_of, with_remarks


def history(*runs: RunResult, width: int, comparisons: tuple[PastComparison, ...] = ()) -> str:
    out = io.StringIO()
    series = series_of(runs)
    report = HistoryReport(runs=with_remarks(runs, series), series=series, comparisons=comparisons)
    print_history(report, Console(file=out, width=width))
    return out.getvalue()


def days(*base_ns: int) -> list[RunResult]:
    """The newest first, as a store gives them."""
    return [
        measured_run(run_id=f"{day}" * 32, created_at=f"2026-03-0{day}T12:00:00+00:00", base_ns=one)
        for day, one in reversed(list(enumerate(base_ns, 1)))
    ]


def updated(run: RunResult) -> RunResult:
    assert run.environment is not None
    return replace(run, environment=replace(run.environment, before=replace(run.environment.before, os_build="BP1A")))


def test_no_runs() -> None:
    assert "no runs yet" in history(width=80)


def test_history_shows_where_a_series_went() -> None:
    runs = days(8_500_000, 9_000_000, 9_500_000)
    wide = history(*runs, failed_run(), width=180).splitlines()
    assert "▁▄█" in wide[2]
    assert "2026-03-03 12:00:00" in wide[2]
    assert wide[2].startswith("3" * 32)
    assert "error" in wide[5]
    narrow = history(*runs, width=80)
    assert "2026-03-03 12:00:00 UTC" in narrow
    assert "mobilenet on desk-pixel" in narrow
    assert "3" * 32 in narrow, "an id that can be copied"
    table = narrow.split("\n\n", maxsplit=1)[0]
    assert max(len(line) for line in table.splitlines()) <= 80


@pytest.mark.parametrize("width", [80, 200])
def test_a_new_series_says_why_and_its_trend_begins_anew(width: int) -> None:
    newest, *others = days(8_000_000, 8_100_000, 9_000_000)
    text = history(updated(newest), *others, width=width)
    assert "mobilenet executorch-xnnpack-int8 on desk-pixel, android 15: 1 run\n" in text
    assert "new series: OS build AP4A.250105.002 → BP1A" in text
    assert "warning" not in text
    if width == 200:
        assert text.splitlines()[2].count("▄") == 1


def test_an_unstable_result_is_a_warning() -> None:
    text = history(*days(8_000_000, 9_000_000), width=200)
    assert "warning: 2026-03-02 12:00:00 UTC  run 2222" in text
    assert "unstable: the same artifact was" in text
    assert "pass, unstable" in text


@pytest.mark.parametrize("width", [60, 200])
def test_comparisons_are_listed(width: int) -> None:
    lane = Lane(exporter="tflite", backend="xnnpack", precision="fp32")
    base = Contender(origin="git:main", model="net", recipe="fp32", lane=lane, sha256="ab" * 32, size_bytes=9)
    decided = Comparison(
        figure="latency_p50",
        verdict="fail",
        tolerance=0.02,
        ratio=1.1,
        ci_low=1.08,
        ci_high=1.12,
        confidence=0.99,
        blocks=5,
        samples=100,
    )
    found = Contest(device="desk", base=base, candidate=replace(base, origin="now"), verdict="fail", decided=(decided,))
    past = PastComparison(
        id="20260301T120000-abcd", created_at="2026-03-01T12:00:00+00:00", project="p", target="t", verb="gate", contest=found
    )
    text = history(width=width, comparisons=(past,))
    for words in ("20260301T120000-abcd", "git:main: net tflite-xnnpack-fp32", "p50 1.100 (1.080 to 1.120)", "fail"):
        assert words in text
