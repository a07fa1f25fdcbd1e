"""Quantities for the eye."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.report import units


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "–"),
        (0, "0 ns"),
        (950, "950 ns"),
        (1_000, "1.00 µs"),
        (999_400, "999 µs"),
        (999_600, "1.00 ms"),
        (8_123_456, "8.12 ms"),
        (9_996_000, "10.0 ms"),
        (81_234_567, "81.2 ms"),
        (812_345_678, "812 ms"),
        (1_200_000_000, "1.20 s"),
        (3_600_000_000_000, "3600 s"),
    ],
)
def test_durations(ns: int | None, text: str) -> None:
    assert units.duration(ns) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(None, "–"), (512, "512 B"), (14_000_000, "14.0 MB"), (1_048_576, "1.05 MB"), (7_800_000_000, "7.80 GB")],
)
def test_sizes_are_decimal(size_bytes: int | None, text: str) -> None:
    assert units.size(size_bytes) == text


def test_other_quantities() -> None:
    assert units.clock(2_914_000_000) == "2.91 GHz"
    assert units.decibel(38.44) == "38.4 dB"
    assert units.decibel(None, exact=True) == "exact"
    assert units.decibel(None) == units.error(None) == units.celsius(None) == units.count(None) == "–"
    assert units.error(0.0000123) == "1.2e-05"
    assert units.celsius(47.5) == "47.5 °C"
    assert units.count(3_504_872) == "3,504,872"


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_duration_is_short_and_within_half_a_percent(ns: int) -> None:
    number, unit = units.duration(ns).split()
    factor = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9}[unit]
    assert float(number) * factor == pytest.approx(ns, rel=0.0051)
    assert unit == "s" or len(number) <= 4


def test_text_that_a_terminal_would_obey() -> None:
    assert units.clean("red \x1b[31m\x07\x9b2J") == "red \ufffd[31m\ufffd\ufffd2J"
    assert units.clean("gnp.\u202eexe") == "gnp.\ufffdexe"
    assert units.clean("two\nlines\r\nand\u2028more") == "two lines and more"
    assert units.clean("Müller's 模型 🙂") == "Müller's 模型 🙂"


@given(st.text())
def test_clean_text_has_nothing_to_obey_and_stays_clean(text: str) -> None:
    cleaned = units.clean(text)
    assert not any(ord(char) < 32 and char != "\t" for char in cleaned)
    assert len(cleaned.splitlines()) <= 1
    assert units.clean(cleaned) == cleaned


def test_sparklines() -> None:
    assert units.sparkline([1, 2, None, 8]) == "▁▂ █"
    assert units.sparkline([5, 5]) == "▄▄"
    assert units.sparkline([None, None]) == "  "
    assert units.sparkline([]) == ""


@pytest.mark.parametrize(
    ("created_at", "text"),
    [
        ("2026-03-01T12:00:07+00:00", "2026-03-01 12:00:07 UTC"),
        ("2026-03-01T12:00:07.123456Z", "2026-03-01 12:00:07 UTC"),
        ("2026-03-01T12:00:07+05:30", "2026-03-01 12:00:07 +05:30"),
        ("2026-03-01T12:00:07", "2026-03-01 12:00:07"),
        ("2026-03-01", "2026-03-01"),
    ],
)
def test_moments(created_at: str, text: str) -> None:
    assert units.moment(created_at) == text
