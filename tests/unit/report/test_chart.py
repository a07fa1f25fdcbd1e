"""Coordinates of the charts."""

from __future__ import annotations

import re

from documents import measured_run
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.report.chart import Tick, distribution_chart, latency_chart, merged_labels, spread_bar


def process(*latency_ns: int, warmup: tuple[int, ...] = ()) -> ProcessSamples:
    return ProcessSamples(
        load_ns=1, first_inference_ns=1, warmup_ns=warmup, latency_ns=latency_ns, peak_rss_bytes=1, rss_before_load_bytes=1
    )


def dots(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", path)]


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path)]


def test_every_sample_is_a_dot_in_order_and_higher_is_slower() -> None:
    chart = latency_chart([process(10_000, 30_000, 20_000, warmup=(40_000,)), process(15_000)])
    assert chart is not None
    first, second = (dots(series.path) for series in chart.series)
    assert [len(first), len(second)] == [3, 1]
    assert [x for x, _ in first] == sorted(x for x, _ in first)
    assert first[1][1] < first[2][1] < first[0][1], "downwards is faster"
    assert [len(dots(series.warmup)) for series in chart.series] == [1, 0]
    assert chart.series[0].end == chart.series[1].start == 800
    assert [tick.label for tick in chart.x_ticks] == ["process 1", "process 2"]
    assert chart.pinned == 0


def test_a_stray_is_pinned_to_the_edge_and_counted() -> None:
    usual = [8_000_000 + i * 1000 for i in range(99)]
    chart = latency_chart([process(*usual, 900_000_000)])
    assert chart is not None
    assert (chart.pinned, chart.pinned_up_to_ns) == (1, 900_000_000)
    assert dots(chart.series[0].above) == [dots(chart.series[0].path)[-1]]
    assert dots(chart.series[0].path)[-1][1] == 0
    spread = [y for _, y in dots(chart.series[0].path)[:-1]]
    assert max(spread) - min(spread) > 150, "the rest still fills a good part of the height"


def test_a_moderate_tail_is_shown_whole() -> None:
    chart = latency_chart(measured_run().processes)
    assert chart is not None
    assert chart.pinned == 0
    assert sum(len(dots(series.path)) for series in chart.series) == 300


def test_so_many_samples_that_only_extremes_are_drawn() -> None:
    samples = [1_000_000 + i % 7 for i in range(50_000)]
    samples[33_333] = 1_000_900
    chart = latency_chart([process(*samples)])
    assert chart is not None
    assert chart.thinned
    drawn = dots(chart.series[0].path)
    assert len(drawn) <= 2_000
    top = min(drawn, key=lambda dot: dot[1])
    assert abs(top[0] - 666.7) < 1, "the slowest is not lost"


def test_the_distribution_climbs_from_none_to_all() -> None:
    chart = distribution_chart([process(30_000, 10_000, 20_000, 20_000)])
    assert chart is not None
    heights = [float(y) for y in re.findall(r"V([\d.]+)", chart.series[0].path)]
    assert heights == [750, 500, 250, 0]
    assert [mark.label for mark in chart.marks] == ["p50", "p90", "p99"]
    assert [tick.label for tick in chart.y_ticks] == ["0 %", "50 %", "90 %", "100 %"]


def test_without_timed_samples_there_is_no_chart() -> None:
    assert latency_chart([]) is None
    assert latency_chart([process(warmup=(1, 2))]) is None
    assert distribution_chart([process()]) is None


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(min_value=0, max_value=10**12), max_size=30), min_size=1, max_size=4))
def test_everything_is_inside_the_plot(series: list[list[int]]) -> None:
    processes = [process(*samples, warmup=tuple(samples[:2])) for samples in series]
    for chart in (latency_chart(processes), distribution_chart(processes)):
        assert (chart is None) == (not any(series))
        if chart is None:
            continue
        for line in chart.series:
            assert all(0 <= number <= 1000 for number in numbers(line.path + line.warmup + line.above))
        for tick in (*chart.x_ticks, *chart.y_ticks, *chart.marks):
            assert -0.01 <= tick.at <= 1000.01
        for ticks in (chart.x_ticks, chart.y_ticks):
            assert len({tick.label for tick in ticks}) == len(ticks) <= 12, "labels differ from each other"


def test_labels_that_would_overlap_are_merged() -> None:
    marks = [Tick(at=100, label="p50"), Tick(at=150, label="p90"), Tick(at=600, label="p99")]
    assert merged_labels(marks) == (Tick(at=125, label="p50, p90"), Tick(at=600, label="p99"))
    assert merged_labels([]) == ()


def test_bars() -> None:
    assert spread_bar(5, 10, 20) == (25, 50)
