"""Quantities for the eye. Pure; nothing here is ever parsed back."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

ABSENT = "–"
"""What stands where there is no figure."""

_TIME_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))
# Decimal, as budgets are: MB is 10^6 bytes.
_BYTE_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_CLOCK_UNITS = ((10**9, "GHz"), (10**6, "MHz"), (10**3, "kHz"))
_BARS = "▁▂▃▄▅▆▇█"


def duration(ns: int | None) -> str:
    """Three significant digits: ``8.12 ms``, ``950 ns``, ``1.20 s``."""
    return _scaled(ns, _TIME_UNITS, "ns")


def size(size_bytes: int | None) -> str:
    """Three significant digits, decimal units: ``14.0 MB``, ``512 B``."""
    return _scaled(size_bytes, _BYTE_UNITS, "B")


def clock(hz: int | None) -> str:
    """``2.91 GHz``."""
    return _scaled(hz, _CLOCK_UNITS, "Hz")


def decibel(value: float | None, *, exact: bool = False) -> str:
    """One decimal: ``38.4 dB``; ``exact`` for a perfect match, which has no finite ratio."""
    if exact:
        return "exact"
    return ABSENT if value is None else f"{value:.1f} dB"


def error(value: float | None) -> str:
    """Two significant digits: ``1.2e-05``, ``0.012``."""
    return ABSENT if value is None else f"{value:.2g}"


def celsius(value: float | None) -> str:
    """``47.5 °C``."""
    return ABSENT if value is None else f"{value:.1f} °C"


def rate(per_second: float | None) -> str:
    """Tokens per second, three significant digits: ``12.3 tok/s``, ``5,120 tok/s``."""
    if per_second is None:
        return ABSENT
    return f"{per_second:,.0f} tok/s" if per_second >= 100 else f"{per_second:.3g} tok/s"  # noqa: PLR2004


def count(value: int | None) -> str:
    """With thin groups of three: ``3,504,872``."""
    return ABSENT if value is None else f"{value:,}"


def three_digits(value: float) -> str:
    """``0.0123``, ``4.20``, ``1,230``."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")  # noqa: PLR2004


def moment(created_at: str) -> str:
    """``2026-03-01 12:00:07 UTC`` of ``2026-03-01T12:00:07.123456+00:00``; other time zones stay as offsets."""
    day, _, rest = created_at.partition("T")
    clock, zone = rest[:8], rest[8:].lstrip(".0123456789")
    return " ".join(part for part in (day, clock, "UTC" if zone in {"Z", "+00:00"} else zone) if part)


def clean(text: str) -> str:
    """``text`` with everything replaced that a terminal or an XML file would obey or choke on, line ends among them.

    Names and messages come from devices and project files; an escape sequence in one must not recolour a terminal, and
    a mark that reverses the direction of writing must not turn a path around.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _obeyed(char) else char for char in " ".join(text.splitlines()))


def sparkline(values: Sequence[int | None]) -> str:
    """One block character per value, lowest to highest of the series; a gap where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    low, span = min(known), max(known) - min(known)
    steps = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[steps // 2 if span == 0 else (value - low) * steps // span] for value in values
    )


def _obeyed(char: str) -> bool:
    return char != "\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"}


def _scaled(value: int | None, units: Sequence[tuple[int, str]], base: str) -> str:
    if value is None:
        return ABSENT
    for factor, unit in units:
        # 999.6 µs would read "1000 µs": what rounds up to the next unit is told in it.
        if abs(value) >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {unit}"
    return f"{value} {base}"


def _three_digits(value: float) -> str:
    for decimals, bound in ((2, 9.995), (1, 99.95)):
        if abs(value) < bound:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"
