"""One row per run for spreadsheets and data frames: CSV as RFC 4180 has it, an empty cell where nothing was measured."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import chain
from statistics import fmean

from edgedeploy.domain.result import RunResult

_Cell = str | int | float | None


def takes(run: RunResult) -> bool:  # noqa: ARG001 - every format has one
    """Every run, failed ones too."""
    return True


def render(runs: Sequence[RunResult]) -> str:
    """A header line, then one line per run."""
    out = io.StringIO()
    rows = [_row(run) for run in runs]
    writer = csv.DictWriter(out, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(run: RunResult) -> dict[str, _Cell]:
    return {**_identity(run), **_environment(run), **_figures(run)}


def _identity(run: RunResult) -> dict[str, _Cell]:
    return {
        "run": run.id,
        "created_at": run.created_at,
        "project": run.project,
        "model": run.model,
        "recipe": run.recipe,
        "exporter": run.lane.exporter,
        "backend": run.lane.backend,
        "precision": run.lane.precision,
        "mode": run.mode,
        "target": run.target,
        "device": run.device,
        "verdict": run.verdict.status,
        "reasons": "; ".join(run.verdict.reasons),
        "error": run.error.kind if run.error else None,
        "artifact_sha256": run.artifact.sha256 if run.artifact else None,
        "artifact_bytes": run.artifact.size_bytes if run.artifact else None,
    }


def _environment(run: RunResult) -> dict[str, _Cell]:
    found = run.environment
    facts = found.before if found else None
    return {
        "device_model": facts.model if facts else None,
        "os": facts.os if facts else None,
        "os_version": facts.os_version if facts else None,
        "os_build": facts.os_build if facts else None,
        "engine": found.engine if found else None,
        "engine_version": found.engine_version if found else None,
        "threads": found.threads if found else None,
        "cpus": " ".join(map(str, found.cpus)) if found else None,
    }


def _figures(run: RunResult) -> dict[str, _Cell]:
    samples = list(chain.from_iterable(process.latency_ns for process in run.processes))
    spoken = run.generation
    energy = run.energy.per_iteration_mj if run.energy else None
    return {
        "processes": len(run.processes) or None,
        "iterations": len(samples) or None,
        "latency_p50_ns": run.latency_ns.p50 if run.latency_ns else None,
        "latency_p90_ns": run.latency_ns.p90 if run.latency_ns else None,
        "latency_p99_ns": run.latency_ns.p99 if run.latency_ns else None,
        "latency_mean_ns": fmean(samples) if samples else None,
        "load_ns": run.load_ns,
        "load_cold_ns": run.load_cold_ns,
        "peak_rss_bytes": run.peak_rss_bytes or None,
        "energy_per_inference_mj": energy.mean if energy else None,
        "prompt_tokens": spoken.prompt_tokens if spoken else None,
        "generated_tokens": spoken.generated_tokens if spoken else None,
        "ttft_ns": spoken.ttft_ns if spoken else None,
        "prefill_tokens_per_s": spoken.prefill_tokens_per_s if spoken else None,
        "decode_tokens_per_s": spoken.decode_tokens_per_s if spoken else None,
        "kv_cache_bytes": (spoken.kv_cache_bytes or None) if spoken else None,
    }


COLUMNS = (
    *("run", "created_at", "project", "model", "recipe", "exporter", "backend", "precision", "mode"),
    *(
        "target",
        "device",
        "verdict",
        "reasons",
        "error",
        "artifact_sha256",
        "artifact_bytes",
        "device_model",
        "os",
        "os_version",
        "os_build",
        "engine",
    ),
    *("engine_version", "threads", "cpus", "processes", "iterations", "latency_p50_ns", "latency_p90_ns", "latency_p99_ns"),
    *("latency_mean_ns", "load_ns", "load_cold_ns", "peak_rss_bytes", "energy_per_inference_mj", "prompt_tokens"),
    *("generated_tokens", "ttft_ns", "prefill_tokens_per_s", "decode_tokens_per_s", "kv_cache_bytes"),
)
"""The names and the order of the columns."""
