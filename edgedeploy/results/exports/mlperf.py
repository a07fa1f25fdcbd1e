"""A summary in the words of MLPerf's LoadGen, scenario SingleStream, for programs that read those.

Defined by mlcommons/inference, ``loadgen/results.cc`` (``PerformanceSummary::LogSummary``): the same lines, and its percentiles,
the sample at index count × percentile in ascending order. LoadGen has not run here, and nothing in this file is a result of
MLPerf: it is said on top, and what only LoadGen decides (``Result is``, early stopping, minimum duration, settings) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from statistics import fmean

from edgedeploy.domain.measurement import Generation
from edgedeploy.domain.result import RunResult

_RULE = "=" * 48
_PERCENTILES = (0.50, 0.90, 0.95, 0.97, 0.99, 0.999)
_TARGET = 0.90  # LoadGen's own for SingleStream


def takes(run: RunResult) -> bool:
    """What was measured."""
    return any(process.latency_ns for process in run.processes)


def render(runs: Sequence[RunResult]) -> str:
    """One summary after the other."""
    return "\n".join("\n".join(_summary(run)) + "\n" for run in runs)


def _summary(run: RunResult) -> Iterator[str]:
    spoken = [process.generation for process in run.processes if process.generation is not None]
    if spoken:  # a query is a whole answer
        latencies = sorted(one.ttft_ns + sum(one.decode_ns) for one in spoken)
    else:
        latencies = sorted(chain.from_iterable(process.latency_ns for process in run.processes))
    first_ns = sorted(one.ttft_ns for one in spoken)
    yield from (_RULE, "MLPerf-style Summary by edgedeploy (LoadGen was not used: not an MLPerf result)", _RULE)
    # A name from a device may hold anything, and each line here is a fact.
    yield f"SUT name : {' '.join(f'{run.model} {run.lane.id} on {run.device}'.split())}"
    yield "Scenario : SingleStream"
    yield "Mode     : PerformanceOnly"
    yield f"{_TARGET * 100:.1f}th percentile latency (ns) : {_at(latencies, _TARGET)}"
    if first_ns:
        yield f"{_TARGET * 100:.1f}th first token percentile latency (ns) : {_at(first_ns, _TARGET)}"
    yield from ("", _RULE, "Additional Stats", _RULE)
    mean = int(fmean(latencies))
    if mean > 0:
        yield f"QPS w/o loadgen overhead        : {1e9 / mean:.2f}"
        yield ""
    yield f"Min latency (ns)                : {latencies[0]}"
    yield f"Max latency (ns)                : {latencies[-1]}"
    yield f"Mean latency (ns)               : {mean}"
    for percentile in _PERCENTILES:
        yield f"{percentile * 100:.2f} percentile latency (ns)   : {_at(latencies, percentile)}"
    if spoken:
        yield from _tokens(spoken, first_ns, sum(latencies))


def _tokens(spoken: Sequence[Generation], first_ns: Sequence[int], total_ns: int) -> Iterator[str]:
    yield ""
    if total_ns > 0:
        yield f"TPS w/o loadgen overhead        : {sum(len(one.tokens) for one in spoken) * 1e9 / total_ns:.2f}"
    yield from _spread("First Token latency (ns)                : ", "first token latency (ns)   : ", first_ns)
    each = sorted(int(fmean(one.decode_ns)) for one in spoken if one.decode_ns)
    if each:
        yield ""
        yield from _spread("Time per Output Token (ns)                : ", "time to output token (ns)   : ", each)


def _spread(name: str, percentile_name: str, ordered: Sequence[int]) -> Iterator[str]:
    yield f"Min {name}{ordered[0]}"
    yield f"Max {name}{ordered[-1]}"
    yield f"Mean {name.replace(' : ', ': ', 1)}{int(fmean(ordered))}"
    for percentile in _PERCENTILES:
        yield f"{percentile * 100:.2f} percentile {percentile_name}{_at(ordered, percentile)}"


def _at(ordered: Sequence[int], percentile: float) -> int:
    return ordered[int(len(ordered) * percentile)]
