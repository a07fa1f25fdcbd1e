"""BenchmarkResult of TensorFlow Lite's and LiteRT's benchmark tools, as JSON with the names of its fields.

Defined by tensorflow/tensorflow, ``tensorflow/lite/tools/benchmark/proto/benchmark_result.proto``; units as
google-ai-edge/LiteRT fills it, ``litert/tools/benchmark_litert_model.h``: a megabyte is 10^6 bytes of a file, and 2^20 bytes
of memory. protobuf's JSON parsers take the fields' own names.

Left out, as nothing here measures them: ``init_footprint_kb`` and ``overall_footprint_kb`` (growth of memory since the tool
began), ``model_throughput_in_mb_per_sec`` (bytes of the inputs), ``num_warmup_runs`` (those with other inputs are not counted).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import fmean, median, pstdev

import msgspec

from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.result import RunResult
from edgedeploy.stats import quantile

_NS_PER_MS = 1e6


class LatencyMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Wall time of all iterations of all processes; load and first inference are medians over the processes."""

    avg_ms: float
    min_ms: float
    max_ms: float
    stddev_ms: float
    median_ms: float
    p5_ms: float
    p95_ms: float
    init_ms: float
    first_inference_ms: float
    average_warm_up_ms: float | None = None


class MemoryMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The greatest resident set of a process; where a system did not tell, it is 0 in a run, and absent here."""

    peak_mem_mb: float | None = None


class MiscMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The size of the artifact, and how many iterations were timed."""

    model_size_mb: float | None = None
    num_runs: int


class BenchmarkResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    name: str
    latency_metrics: LatencyMetrics
    memory_metrics: MemoryMetrics
    misc_metrics: MiscMetrics


def takes(run: RunResult) -> bool:
    """What was measured; not of language models, whose iterations are tokens."""
    timed = any(process.latency_ns for process in run.processes)
    return timed and not any(process.generation for process in run.processes)


def render(runs: Sequence[RunResult]) -> str:
    """A JSON array."""
    return msgspec.json.format(msgspec.json.encode([_result(run) for run in runs])).decode() + "\n"


def _result(run: RunResult) -> BenchmarkResult:
    timed = [process for process in run.processes if process.latency_ns]
    samples = list(chain.from_iterable(process.latency_ns for process in timed))
    warm_up = list(chain.from_iterable((process.first_inference_ns, *process.warmup_ns) for process in timed))
    return BenchmarkResult(
        name=f"{run.model} {run.lane.id} {run.device}",
        latency_metrics=LatencyMetrics(
            avg_ms=fmean(samples) / _NS_PER_MS,
            min_ms=min(samples) / _NS_PER_MS,
            max_ms=max(samples) / _NS_PER_MS,
            stddev_ms=pstdev(samples) / _NS_PER_MS,
            median_ms=quantile(samples, 0.5) / _NS_PER_MS,
            p5_ms=quantile(samples, 0.05) / _NS_PER_MS,
            p95_ms=quantile(samples, 0.95) / _NS_PER_MS,
            init_ms=median(process.load_ns for process in timed) / _NS_PER_MS,
            first_inference_ms=median(process.first_inference_ns for process in timed) / _NS_PER_MS,
            average_warm_up_ms=fmean(warm_up) / _NS_PER_MS if all(map(_whole, timed)) else None,
        ),
        memory_metrics=MemoryMetrics(peak_mem_mb=max(process.peak_rss_bytes for process in timed) / 2**20 or None),
        misc_metrics=MiscMetrics(
            model_size_mb=run.artifact.size_bytes / 1e6 if run.artifact else None,
            num_runs=len(samples),
        ),
    )


def _whole(process: ProcessSamples) -> bool:
    """Whether every iteration of a warm-up was kept; of long ones only the first are."""
    return process.warm_up is None or process.warm_up.iterations == len(process.warmup_ns)
