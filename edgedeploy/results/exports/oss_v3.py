"""Records of PyTorch's OSS benchmark database, schema v3: one per metric, and one per failure.

Defined by the table in pytorch/test-infra, ``clickhouse_db_schema/benchmark.oss_ci_benchmark_v3/schema.sql``; names of metrics
and the form of a failure are those of ExecuTorch's own benchmarks where they have one (pytorch/executorch,
``.github/scripts/extract_benchmark_results.py`` and ``extension/benchmark``). The action ``upload-benchmark-results`` takes a
file of these records, and adds what it knows of repository, commit and job.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from statistics import fmean, median

import msgspec

from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.result import RunResult
from edgedeploy.stats import quantile

_NS_PER_MS = 1e6
_BYTES_PER_MB = 2**20  # as ExecuTorch's benchmarks count them: kilobytes by 1024
_BYTES_PER_GB = 2**30


class Benchmark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which benchmark. Values of ``extra_info`` are strings, here and below, as the table wants them."""

    name: str
    mode: str
    dtype: str
    extra_info: dict[str, str]


class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which model, by which exporter and backend."""

    name: str
    type: str
    backend: str
    extra_info: dict[str, str] = {}


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure, one value per process."""

    name: str
    benchmark_values: list[float]
    extra_info: dict[str, str] = {}


class Runner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The device."""

    name: str
    type: str = ""
    cpu_info: str = ""
    cpu_count: int = 0
    avail_mem_in_gb: int = 0
    extra_info: dict[str, str] = {}


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """An SDK that exported the model."""

    version: str


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the table, without what the upload adds. ``timestamp`` is in seconds since 1970."""

    timestamp: int
    benchmark: Benchmark
    model: Model
    metric: Metric
    runners: list[Runner] = []
    dependencies: dict[str, Dependency] = {}


def takes(run: RunResult) -> bool:
    """What was measured, and what failed."""
    return run.error is not None or any(process.latency_ns for process in run.processes)


def render(runs: Sequence[RunResult]) -> str:
    """A JSON array."""
    records = [record for run in runs for record in _records(run)]
    return msgspec.json.format(msgspec.json.encode(records)).decode() + "\n"


def _records(run: RunResult) -> Iterator[Record]:
    failure = run.error
    said = {"run_id": run.id, "project": run.project, "target": run.target, "verdict": run.verdict.status}
    if failure is not None:
        said |= {"job_conclusion": "FAILURE", "failure_type": failure.kind, "failure_reason": failure.what}
    benchmark = Benchmark(name="edgedeploy", mode="inference", dtype=run.lane.precision, extra_info=said)
    about = {"recipe": run.recipe}
    if run.artifact is not None:
        about |= {"sha256": run.artifact.sha256, "size_bytes": str(run.artifact.size_bytes), "format": run.artifact.format}
    model = Model(name=run.model, type="edgedeploy", backend=f"{run.lane.exporter}-{run.lane.backend}", extra_info=about)
    # The table knows no other sign of a failure than this metric, whose value means nothing.
    failed = [Metric(name="FAILURE_REPORT", benchmark_values=[0])] if failure is not None else []
    for metric in (*_metrics(run), *failed):
        yield Record(
            timestamp=_seconds(run.created_at),
            benchmark=benchmark,
            model=model,
            metric=metric,
            runners=_runners(run),
            dependencies={name: Dependency(version=version) for name, version in sorted(run.toolchain.items())},
        )


def _metrics(run: RunResult) -> Iterator[Metric]:
    timed = [process for process in run.processes if process.latency_ns]
    if not timed:
        return
    if any(process.generation for process in timed):
        yield from _of_language(timed)
    else:
        yield _times("avg_inference_latency(ms)", [fmean(process.latency_ns) for process in timed])
        for percent in (50, 90, 99):
            values = [quantile(process.latency_ns, percent / 100) for process in timed]
            yield _times(f"p{percent}_inference_latency(ms)", values)
    yield _times("model_load_time(ms)", [process.load_ns for process in timed])
    peaks = [process.peak_rss_bytes / _BYTES_PER_MB for process in timed if process.peak_rss_bytes]
    if peaks:
        yield Metric(name="peak_inference_mem_usage(mb)", benchmark_values=peaks, extra_info={"memory": "resident set"})
    if run.energy is not None and run.energy.per_iteration_mj is not None:
        source = {"source": run.energy.source}
        yield Metric(name="energy_per_inference(mj)", benchmark_values=[run.energy.per_iteration_mj.mean], extra_info=source)


def _of_language(processes: Sequence[ProcessSamples]) -> Iterator[Metric]:
    spoken = [process.generation for process in processes if process.generation is not None]
    yield _times("time_to_first_token(ms)", [one.ttft_ns for one in spoken])
    tokens = {"prompt_tokens": str(spoken[0].prompt_tokens), "generated_tokens": str(len(spoken[0].tokens))}
    prefill = [one.prefill_tokens_per_s for one in spoken if one.prefill_ns > 0]
    decode = [one.decode_tokens_per_s for one in spoken if sum(one.decode_ns) > 0]
    for name, values in (("prefill_token_per_sec", prefill), ("token_per_sec", decode)):
        if values:
            yield Metric(name=name, benchmark_values=values, extra_info=tokens)
    yield _times("median_time_per_token(ms)", [median(one.decode_ns) for one in spoken if one.decode_ns])


def _times(name: str, values_ns: Sequence[float]) -> Metric:
    return Metric(name=name, benchmark_values=[value / _NS_PER_MS for value in values_ns])


def _runners(run: RunResult) -> list[Runner]:
    if not run.device:
        return []
    environment = run.environment
    if environment is None:
        return [Runner(name=run.device, extra_info={"target": run.target})]
    facts = environment.before
    told = {
        "device_model": facts.model,
        "os_build": facts.os_build,
        "kernel": facts.kernel,
        "runtime": f"{environment.engine} {environment.engine_version}",
        "threads": str(environment.threads),
    }
    return [
        Runner(
            name=run.device,
            type=f"{facts.os} {facts.os_version or ''}".strip(),
            cpu_info=" ".join(filter(None, (facts.soc, facts.abi))),
            cpu_count=len(facts.cores),
            avail_mem_in_gb=(facts.memory_available_bytes or 0) // _BYTES_PER_GB,
            extra_info={name: value for name, value in told.items() if value},
        )
    ]


def _seconds(created_at: str) -> int:
    moment = dt.datetime.fromisoformat(created_at)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())
