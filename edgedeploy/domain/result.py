"""The document that a push ends with: the contract of ``--json``, of history and of reports."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import Format
from edgedeploy.domain.contest import Contest
from edgedeploy.domain.delegation import Delegation
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.measurement import (
    Agreement,
    Environment,
    LayerAgreement,
    MetricResult,
    ProcessSamples,
    RuntimeAgreement,
)
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.mode_figures import ModeFigures
from edgedeploy.domain.operator_times import Profile
from edgedeploy.domain.series import Remark
from edgedeploy.domain.target import Lane
from edgedeploy.domain.verdict import GATE_FAILED_EXIT_CODE, INCONCLUSIVE_EXIT_CODE, Verdict

PUSH_SCHEMA = "edgedeploy.push/2"


class ArtifactSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Which file it was. ``folder`` is where it lies on this machine, ``export_cached`` whether it was there already."""

    sha256: str
    size_bytes: int
    format: Format
    folder: str
    export_cached: bool
    peak_export_rss_bytes: int
    parameters: int
    inspection: dict[str, str]


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """``artifact_bytes`` is the file or package; ``float_bytes`` what its parameters take in float32."""

    artifact_bytes: int
    float_bytes: int
    golden_bytes: int


class Seconds(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time of making the artifact: ``load`` was spent once for all lanes of the model, ``export`` on this one."""

    load: float
    export: float


class PushStats(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of this run: its artifact, golden inputs, and the runner. ``seconds`` is the wall time of sending and checking.

    ``bytes_sent`` counts what went over the link in all attempts. ``resumed_from`` is how many bytes an earlier attempt or push
    had left there. ``chunks_reused`` is how many pieces of other files on the device were used again.
    """

    bytes_total: int
    bytes_sent: int
    resumed_from: int = 0
    chunks_reused: int = 0
    seconds: float
    release: int


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Agreement with PyTorch on the golden inputs; None where it could not be computed, and ``note`` says why.

    ``runtimes`` has one entry per runtime of this machine that ran the artifact, and ``host`` is the worst of them.
    ``metric`` is the model source's own, computed on this machine. ``layers``, in the order of execution, are looked at
    only when a floor is broken, and ``growth`` says in words where among them the error grows.
    """

    host: Agreement | None = None
    device: Agreement | None = None
    note: str = ""
    runtimes: tuple[RuntimeAgreement, ...] = ()
    metric: MetricResult | None = None
    layers: tuple[LayerAgreement, ...] = ()
    growth: str = ""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Every timed iteration of every process, in order, and quantiles of them (nearest-rank), in nanoseconds.

    Of a language model an iteration is one token after the first. In mode ``cold`` it is the first inference of a process; in
    mode ``concurrent`` it had the load beside it; in modes ``sustained`` and ``throughput``, where there are too many to keep, at
    most a hundred of each window are kept, evenly spread.
    """

    samples: tuple[int, ...]
    p50: int
    p90: int
    p99: int


class GenerationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a language model did with a prompt of ``prompt_tokens``: medians over the processes, whose samples are kept."""

    prompt_tokens: int
    generated_tokens: int
    ttft_ns: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    kv_cache_bytes: int


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of one model on one device. Fields that a failed or skipped stage would have filled are None.

    ``load_ns`` is the median of loads with the file in the page cache; in mode ``cold``, of loads without. ``load_cold_ns`` is
    one that was taken out of it before, and ``load_cold_cached`` the share that was in there all the same (None: the device did
    not say). ``gate`` is its comparison with its baseline, without the single latencies, and ``ungated`` the verdict without it.
    ``remarks`` are what the runs before say of this one: found when it is looked at, not stored.

    Results of different ``mode`` are never of one series; ``mode_figures`` is what a mode but ``single`` gives besides.
    """

    id: str
    created_at: str
    project: str
    model: str
    recipe: str
    target: str
    device: str
    lane: Lane
    mode: Mode = "single"
    verdict: Verdict
    artifact: ArtifactSummary | None = None
    sizes: Sizes | None = None
    seconds: Seconds | None = None
    toolchain: dict[str, str] = {}
    delegation: Delegation | None = None
    push: PushStats | None = None
    verify: Verification = Verification()
    load_ns: int | None = None
    load_cold_ns: int | None = None
    load_cold_cached: float | None = None
    latency_ns: Latency | None = None
    profile: Profile | None = None
    energy: Energy | None = None
    generation: GenerationSummary | None = None
    peak_rss_bytes: int | None = None
    device_sha256: str | None = None
    processes: tuple[ProcessSamples, ...] = ()
    environment: Environment | None = None
    gate: Contest | None = None
    ungated: Verdict | None = None
    remarks: tuple[Remark, ...] = ()
    mode_figures: ModeFigures | None = None
    error: Failure | None = None


class PushReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one call of push (or export) did."""

    schema: str = PUSH_SCHEMA
    edgedeploy: str
    project: str
    target: str
    runs: tuple[RunResult, ...]

    @property
    def exit_code(self) -> int:
        """Errors first (the first run's that has one), then a failed gate, then inconclusive, then 0.

        What was passed over does not count: another candidate took its place.
        """
        counting = [run for run in self.runs if run.verdict.status != "passed over"]
        for run in counting:
            if run.error is not None:
                return run.error.exit_code
        statuses = {run.verdict.status for run in counting}
        if "fail" in statuses:
            return GATE_FAILED_EXIT_CODE
        return INCONCLUSIVE_EXIT_CODE if "inconclusive" in statuses else 0
