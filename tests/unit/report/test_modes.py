"""What reports say of a mode."""

from __future__ import annotations

import msgspec
import pytest
from rich.console import Console
from unit.results.documents import measured_run, report_of

from edgedeploy.domain.history import HistoryReport
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.mode_figures import (
    BurstFigures,
    ColdFigures,
    ConcurrentFigures,
    ModeFigures,
    Ratio,
    Spread,
    SustainedFigures,
    ThroughputFigures,
    Window,
)
from edgedeploy.domain.result import RunResult
from edgedeploy.report.github import step_summary
from edgedeploy.report.history import print_history
from edgedeploy.report.html import render_html
from edgedeploy.report.junit import junit_xml
from edgedeploy.report.modes import mode_words
from edgedeploy.report.terminal import print_report
from edgedeploy.results.series import series_of
from edgedeploy.stats.repetitions import estimate

MS = 1_000_000


def run(mode: Mode, figures: ModeFigures, run_id: str = "a" * 32) -> RunResult:
    return msgspec.structs.replace(measured_run(run_id=run_id), mode=mode, mode_figures=figures)


def spread(ms: int) -> Spread:
    return Spread(least=ms * MS - 1, p50=ms * MS, p90=ms * MS + MS, most=ms * MS + 2 * MS)


BURST = BurstFigures(
    bursts=30, invocations=3, idle_s=1, place_p50_ns=(4 * MS, 2 * MS, MS), burst_p50_ns=7 * MS, burst_p90_ns=8 * MS
)
HOT = tuple(
    Window(at_s=at, iterations=100, kept=100, p50_ns=MS if at < 300 else 2 * MS, hottest_c=40 + at / 20) for at in range(600)
)
SUSTAINED = SustainedFigures(
    seconds=600,
    windows=HOT,
    slowdown=0.1,
    first_p50_ns=MS,
    last_p50_ns=2 * MS,
    slower_after_s=300.0,
    signs=("the clock fell from 2.00 to 1.50 GHz",),
)


def test_bursts() -> None:
    assert mode_words(run("burst", BURST)) == (
        "burst: 4.00 ms after 1 s of rest, then 1.50 ms; 3 in a row take 7.00 ms (p90 8.00 ms, 30 bursts)",
    )
    alone = msgspec.structs.replace(BURST, invocations=1, place_p50_ns=(4 * MS,))
    assert mode_words(run("burst", alone))[0].startswith("burst: 4.00 ms after 1 s of rest; 1 in a row take")


def test_minutes() -> None:
    first, slower, hot = mode_words(run("sustained", SUSTAINED))
    assert first == f"sustained: 10 min, p50 1.00 ms at first and 2.00 ms at the end (+100.0%)  {'▁' * 20}{'█' * 20}"
    assert slower == "slower by 10% from 300.0 s on: the clock fell from 2.00 to 1.50 GHz"
    assert hot == "hottest sensor: 40.0 °C at first, 70.0 °C at the end, most 70.0 °C at 599 s"


@pytest.mark.parametrize(
    ("changes", "second"),
    [
        ({"slower_after_s": None, "signs": ()}, "never slower by 10% to the end"),
        ({"signs": ()}, "slower by 10% from 300.0 s on: the device told nothing that explains it"),
    ],
)
def test_minutes_on_a_device_that_tells_nothing(changes: dict[str, object], second: str) -> None:
    windows = tuple(msgspec.structs.replace(window, hottest_c=None) for window in HOT)
    _, *lines = mode_words(run("sustained", msgspec.structs.replace(SUSTAINED, windows=windows, **changes)))
    assert lines == [second, "temperature meanwhile: not told"]


@pytest.mark.parametrize(
    ("changes", "second"),
    [
        ({}, "page cache: empty before each, as root"),
        (
            {"dropped": False, "not_dropped": "only root can", "cached": (0.0, 0.125)},
            "page cache: only the model's file was taken out (only root can); up to 12.5% of it stayed there",
        ),
        (
            {"dropped": False, "not_dropped": "only root can", "cached": (None, None)},
            "page cache: only the model's file was taken out (only root can); what of it stayed there, the device does not say",
        ),
    ],
)
def test_cold_starts(changes: dict[str, object], second: str) -> None:
    found = ColdFigures(
        starts=2, load_ns=spread(10), first_inference_ns=spread(5), until_first_ns=spread(15), cached=(0.0, 0.0), dropped=True
    )
    assert mode_words(run("cold", msgspec.structs.replace(found, **changes))) == (
        "cold: 2 starts: load 10.0 ms (p90 11.0 ms), first inference 5.00 ms (p90 6.00 ms), together 15.0 ms (p90 16.0 ms)",
        second,
    )


def test_several_at_once_and_beside_something_else() -> None:
    found = ThroughputFigures(instances=2, seconds=10, per_second=estimate([99.0, 100.0, 101.0]), instance_p50_ns=(MS, 2 * MS))
    assert mode_words(run("throughput", found)) == (
        "throughput: 100 inferences per second of 2 instances (97.5 to 102; 3 times 10 s), p50 of an instance 1.00 ms to 2.00 ms",
    )
    ratio = Ratio(ratio=1.5, ci_low=1.4, ci_high=1.6)
    beside = ConcurrentFigures(
        load="1 busy program", pairs=5, p50=ratio, p90=ratio, quiet_p50_ns=MS, quiet_ns=(), others=1.02, others_quiet=0.01
    )
    assert mode_words(run("concurrent", beside)) == (
        (
            "beside 1 busy program: p50 1.5× (1.4 to 1.6), p90 1.5× (1.4 to 1.6) of those without, whose p50 is 1.00 ms "
            "(5 pairs; 1.02 processors worked for others, 0.01 without it)"
        ),
    )
    assert mode_words(measured_run()) == ()


def test_every_report_names_the_mode_and_what_it_gives() -> None:
    shown = run("burst", BURST)
    console = Console(width=120, record=True, file=None, color_system=None)
    with console.capture() as captured:
        print_report(report_of(shown), console)
    texts = [captured.get(), junit_xml(report_of(shown)), step_summary(report_of(shown)), render_html([shown], title="t")]
    for text in texts:
        assert "executorch-xnnpack-int8, burst" in text
        assert "of rest, then 1.50 ms" in text


def test_runs_with_one_latency_per_process_are_drawn() -> None:
    found = ColdFigures(
        starts=3, load_ns=spread(10), first_inference_ns=spread(5), until_first_ns=spread(15), cached=(0.0,) * 3, dropped=True
    )
    made = run("cold", found)
    processes = tuple(msgspec.structs.replace(one, latency_ns=(5 * MS,), warmup_ns=()) for one in made.processes)
    assert "page cache: empty" in render_html([msgspec.structs.replace(made, processes=processes)], title="t")


def test_a_history_keeps_modes_apart() -> None:
    console = Console(width=200, color_system=None)
    runs = (run("burst", BURST), measured_run(run_id="b" * 32))
    report = HistoryReport(runs=runs, series=series_of(runs))
    assert {one.mode: one.runs for one in report.series} == {"burst": ("a" * 32,), "single": ("b" * 32,)}
    with console.capture() as captured:
        print_history(report, console)
    lines = captured.get().splitlines()
    assert [("burst" in line, "single" in line) for line in lines[-2:]] == [(True, False), (False, True)]
    narrow = Console(width=80, color_system=None)
    with narrow.capture() as captured:
        print_history(report, narrow)
    assert captured.get().count("mode burst") == 1
