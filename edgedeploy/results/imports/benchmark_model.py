"""The log of TensorFlow Lite's ``benchmark_model``, from a terminal or from logcat.

Lines as tensorflow/tensorflow writes them, ``tensorflow/lite/tools/benchmark/benchmark_model.cc``
(``BenchmarkLoggingListener``) and ``tensorflow/core/util/stats_calculator.h`` (``Stat::OutputToStream``); older versions leave
out what newer ones add. Times are microseconds, memory is in units of 2^20 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from edgedeploy.domain.imported import Figures, Measured
from edgedeploy.results.imports.content import Content

_MARK = "Inference timings in us:"
_VALUE = r"\s*([^,\s]*)"
_TIMINGS = re.compile(rf"{_MARK} Init:{_VALUE}, First inference:{_VALUE}, Warmup \(avg\):{_VALUE}, Inference \(avg\):{_VALUE}")
_COUNT = re.compile(r"(?:^|[\s:])count=(\d{1,18})(?=\s)(.*)")
_STAT = re.compile(r"\b(min|max|avg|std|p5|median|p95|curr)=([^\s(]+)")
_GROWN = re.compile(r"Memory footprint delta from the start of the tool \(MB\): init=(\S+) overall=(\S*)")
_PEAK = re.compile(r"Overall peak memory footprint \(MB\) via periodic monitoring:\s*(\S*)")
_PARAMETER = re.compile(r"(Graph|Num threads|Use gpu|Use NNAPI|Use xnnpack): \[([^\]]{0,1000})\]")
_NS_PER_US = 1e3
_MEBIBYTE = 2**20


def looks_like(content: Content) -> bool:
    """Whether the line with the result is there, or at least begins."""
    return _MARK in content.text


def read(content: Content) -> tuple[Measured, ...]:
    """Every result in it, of one model after the other.

    Raises:
        UsageError: a line is cut off, or a figure is none.
    """
    return tuple(_results(content))


def _results(content: Content) -> Iterator[Measured]:
    found: Measured | None = None
    counted: tuple[int, str, str] | None = None
    facts: dict[str, str] = {}
    for line, text in enumerate(content.lines, 1):
        if found is not None:
            found = replace(found, figures=_with_memory(found.figures, content, line, text))
        if "count=" in text and (match := _COUNT.search(text)):
            counted = (line, match[1], match[2])
        elif parameter := _PARAMETER.search(text):
            if found is not None:  # the parameters of the next one
                yield found
                found, facts = None, {}
            facts[parameter[1]] = parameter[2]
        elif _MARK in text:
            if found is not None:
                yield found
            found = Measured(line=line, figures=_figures(content, line, text, counted), facts=facts)
            counted = None
    if found is not None:
        yield found


def _figures(content: Content, line: int, text: str, counted: tuple[int, str, str] | None) -> Figures:
    match = _TIMINGS.search(text)
    if match is None:
        raise content.complaint(line, "this line is cut off", text, "import the whole file that the tool wrote")
    names = ("Init", "First inference", "Warmup (avg)", "Inference (avg)")
    init, first, warm_up, mean = (
        content.number(line, name, value) * _NS_PER_US for name, value in zip(names, match.groups(), strict=True)
    )
    known = Figures(load_ns=init, first_inference_ns=first, warmup_mean_ns=warm_up, iteration_mean_ns=mean)
    return known if counted is None else _with_spread(known, content, match[4], *counted)


def _with_spread(known: Figures, content: Content, mean: str, line: int, count: str, rest: str) -> Figures:
    """The same with the statistics of the timed iterations: a ``count=`` line before, whose mean is that of the result."""
    told = dict(_STAT.findall(rest))
    if told.get("avg", told.get("curr")) != mean:  # of the warm-up: the other line was lost
        return known
    if "avg" not in told:  # "count=9 curr=70(all same)"
        told |= dict.fromkeys(("min", "max"), mean)
    stats = {name: content.number(line, name, value) * _NS_PER_US for name, value in told.items()}
    return replace(
        known,
        iterations=int(count),
        iteration_min_ns=stats.get("min"),
        iteration_max_ns=stats.get("max"),
        iteration_std_ns=stats.get("std"),
        iteration_p5_ns=stats.get("p5"),
        iteration_p50_ns=stats.get("median"),
        iteration_p95_ns=stats.get("p95"),
    )


def _with_memory(known: Figures, content: Content, line: int, text: str) -> Figures:
    if match := _GROWN.search(text):
        return replace(known, memory_grown_bytes=content.number(line, "overall", match[2]) * _MEBIBYTE)
    if match := _PEAK.search(text):
        return replace(known, peak_memory_bytes=content.number(line, "the peak of memory", match[1]) * _MEBIBYTE)
    return known
