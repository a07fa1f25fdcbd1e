"""From what is known of a run to its result: failed, undelivered, pushed, measured."""

from __future__ import annotations

import datetime as dt
import secrets
import statistics
from collections.abc import Sequence

import msgspec

from edgedeploy.domain.contest import Contest
from edgedeploy.domain.delegation import delegation_of
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.measurement import Measurement, ProcessSamples
from edgedeploy.domain.release import Attestation, RunnerBundle
from edgedeploy.domain.result import (
    ArtifactSummary,
    GenerationSummary,
    Latency,
    RunResult,
    Seconds,
    Sizes,
    Verification,
)
from edgedeploy.domain.target import Abi
from edgedeploy.domain.verdict import Status, Verdict
from edgedeploy.errors import EdgedeployError, ExportError, MissingToolError
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stats import quantile

_WORSE: tuple[Status, ...] = ("pass", "inconclusive", "fail", "error")


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared run that was verified on this machine, or cannot be.

    ``runner``, where a bundle brought one, is for devices of ``runner_abi``, and is taken before any other there.
    ``attestations`` were made where it was exported.
    """

    prepared: Prepared
    host: Verification
    runner: RunnerBundle | None = None
    runner_abi: Abi | None = None
    attestations: tuple[Attestation, ...] = ()


def failed_run(run: PlannedRun, project: str, target: str, device: str, error: EdgedeployError) -> RunResult:
    """The result of a run that could not be carried out."""
    return msgspec.structs.replace(
        blank_run(run, project, target, device),
        verdict=Verdict(status="error", reasons=(error.what,)),
        error=Failure.of(error),
    )


def error_of(error: Failure, name: str) -> EdgedeployError:
    """What an export failed of, said of what ``name`` calls it."""
    kind = MissingToolError if error.exit_code == MissingToolError.exit_code else ExportError
    return kind(f"{name}: {error.what}", where=error.where, seen=error.seen, next_step=error.next_step)


def undelivered(ready: Ready, project: str, target: str, reason: str) -> RunResult:
    """The result of a run that was exported and goes to no device now."""
    blank = blank_run(ready.prepared.run, project, target, "")
    return with_artifact(msgspec.structs.replace(blank, verdict=Verdict(status="unmeasured", reasons=(reason,))), ready)


def _generation(processes: Sequence[ProcessSamples], kv_cache_bytes: int) -> GenerationSummary | None:
    runs = [process.generation for process in processes if process.generation is not None]
    if not runs:
        return None
    return GenerationSummary(
        prompt_tokens=runs[0].prompt_tokens,
        generated_tokens=len(runs[0].tokens),
        ttft_ns=quantile([run.ttft_ns for run in runs], 0.5),
        prefill_tokens_per_s=round(statistics.median(run.prefill_tokens_per_s for run in runs), 3),
        decode_tokens_per_s=round(statistics.median(run.decode_tokens_per_s for run in runs), 3),
        kv_cache_bytes=kv_cache_bytes,
    )


def measured_run(result: RunResult, found: Measurement, kv_cache_bytes: int) -> RunResult:
    """The same result with what was measured."""
    cold = found.cold_load
    samples = tuple(sample for process in found.processes for sample in process.latency_ns)
    return msgspec.structs.replace(
        result,
        verify=msgspec.structs.replace(result.verify, device=found.agreement),
        load_ns=quantile([process.load_ns for process in found.processes], 0.5),
        load_cold_ns=cold.load_ns if cold else None,
        load_cold_cached=cold.cached if cold else None,
        latency_ns=Latency(samples=samples, p50=quantile(samples, 0.5), p90=quantile(samples, 0.9), p99=quantile(samples, 0.99)),
        profile=found.profile,
        energy=found.energy,
        generation=_generation(found.processes, kv_cache_bytes),
        peak_rss_bytes=max(process.peak_rss_bytes for process in found.processes),
        device_sha256=found.device_sha256,
        processes=found.processes,
        environment=found.environment,
        mode_figures=found.mode_figures,
    )


def gated_run(result: RunResult, contest: Contest) -> RunResult:
    """The same result with what came of its gate, whose latencies are left out: the worse of both verdicts is its own."""
    reasons = tuple(f"against its baseline: {reason}" for reason in contest.reasons if contest.verdict != "pass")
    verdict = max(
        (result.verdict, Verdict(status=contest.verdict)), key=lambda one: _WORSE.index(one.status) if one.status in _WORSE else 0
    )
    return msgspec.structs.replace(
        result,
        verdict=Verdict(status=verdict.status, reasons=(*result.verdict.reasons, *reasons)),
        gate=msgspec.structs.replace(contest, measured=()),
        ungated=result.verdict,
        error=result.error or contest.error,
    )


def with_artifact(result: RunResult, item: Ready) -> RunResult:
    """The same result with what is known of its artifact."""
    artifact = item.prepared.artifact
    return msgspec.structs.replace(
        result,
        artifact=_summary(item.prepared),
        sizes=Sizes(
            artifact_bytes=artifact.size_bytes,
            float_bytes=4 * artifact.parameters,
            golden_bytes=sum(entry.size_bytes for entry in artifact.golden_files()),
        ),
        seconds=Seconds(load=artifact.load_seconds, export=artifact.export_seconds),
        toolchain=artifact.toolchain,
        delegation=delegation_of(artifact.operators),
        verify=item.host,
    )


def blank_run(run: PlannedRun, project: str, target: str, device: str) -> RunResult:
    """The result of a run of which nothing is known yet, with an id of its own."""
    now = dt.datetime.now(dt.UTC)
    return RunResult(
        id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        created_at=now.isoformat(timespec="milliseconds"),
        project=project,
        model=run.model_name,
        recipe=run.recipe_name,
        target=target,
        device=device,
        lane=run.lane,
        mode=run.policy.mode,
        verdict=Verdict(status="unmeasured"),
    )


def _summary(prepared: Prepared) -> ArtifactSummary:
    artifact = prepared.artifact
    return ArtifactSummary(
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        format=artifact.format,
        folder=prepared.folder,
        export_cached=prepared.cached,
        peak_export_rss_bytes=artifact.peak_export_rss_bytes,
        parameters=artifact.parameters,
        inspection=artifact.inspection,
    )
