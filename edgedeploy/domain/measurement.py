"""What came back from a device, as it came: samples in integer nanoseconds, facts, agreement with PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from edgedeploy.domain.conditions import During, FixedClock, Start
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.mode_figures import ModeFigures
from edgedeploy.domain.operator_times import Profile


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What a language model made of one prompt.

    ``prefill_ns`` spans the calls that took the prompt in, ``ttft_ns`` (time to first token) those and the choice of the first
    token. ``decode_ns`` has one entry per token after the first.
    """

    prompt_tokens: int
    prefill_ns: int
    ttft_ns: int
    decode_ns: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def prefill_tokens_per_s(self) -> float:
        """Tokens of the prompt per second."""
        return self.prompt_tokens * 1e9 / max(self.prefill_ns, 1)

    @property
    def decode_tokens_per_s(self) -> float:
        """Generated tokens per second, the first left out."""
        return len(self.decode_ns) * 1e9 / max(sum(self.decode_ns), 1)


class WarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """A warm-up that was to last until the process was steady, as ``edgedeploy.stats.steady`` has it.

    ``iterations`` is how many it had: more than were kept, where they are fast. It was steady from iteration ``steady_since``
    on; None: it was not when the time for it was over.
    """

    iterations: int
    steady_since: int | None


class ProcessSamples(msgspec.Struct, frozen=True, kw_only=True):
    """One fresh process of the runner.

    Of a language model, ``first_inference_ns`` is the time to first token, and ``latency_ns`` has one entry for every token
    after it; ``generation`` has the rest. ``warm_up`` is None where nobody watched it.

    ``pss_bytes`` is its share of memory when all was done. ``cpu_ns`` (all threads) and ``involuntary_switches`` belong to the
    time in which ``latency_ns`` were taken: with little of the one or much of the other, something else had the processors.
    None: the device did not say.
    """

    load_ns: int
    first_inference_ns: int
    warmup_ns: tuple[int, ...]
    latency_ns: tuple[int, ...]
    peak_rss_bytes: int
    rss_before_load_bytes: int
    generation: Generation | None = None
    warm_up: WarmUp | None = None
    pss_bytes: int | None = None
    cpu_ns: int | None = None
    involuntary_switches: int | None = None


class ColdLoad(msgspec.Struct, frozen=True, kw_only=True):
    """The load of a model whose file had been taken out of the page cache; ``cached_bytes`` of it were there all the same.

    None: the device did not say, and the load may have been a warm one.
    """

    load_ns: int
    size_bytes: int
    cached_bytes: int | None

    @property
    def cached(self) -> float | None:
        """The share of the file that was still in the page cache, 0 to 1."""
        return None if self.cached_bytes is None else self.cached_bytes / max(self.size_bytes, 1)


def unsteady(processes: Sequence[ProcessSamples]) -> str:
    """How many of the processes never became steady, in words; empty when all did that were watched."""
    count = sum(process.warm_up is not None and process.warm_up.steady_since is None for process in processes)
    return f"{count} of {len(processes)} processes never became steady" if count else ""


class Perplexity(msgspec.Struct, frozen=True, kw_only=True):
    """Perplexity of PyTorch and of the artifact on the same text, over ``tokens`` scored tokens."""

    pytorch: float
    artifact: float
    tokens: int

    @property
    def increase(self) -> float:
        """By how much of itself it grew: 0.1 for 10 to 11; negative when it fell."""
        return self.artifact / self.pytorch - 1.0


class LanguageAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what PyTorch says, token by token, the artifact says too.

    Of ``tokens`` that could be compared, ``same`` are PyTorch's. A prompt's tokens after the first other one count as
    different: they answer another text. ``perplexity`` is None where there was no text for it.
    """

    tokens: int
    same: int
    perplexity: Perplexity | None = None


class ProfiledOperator(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine on a device calls an operator, and how long it took in each profiled invocation.

    ``delegate`` is None for a kernel of the engine's own, and empty for a delegate whose name the engine does not tell.
    ``sequence``, ``call`` and ``step`` say where in the program it was, as docs/runner-protocol.md defines them; without a
    step it is a call as a whole, which for a delegate contains the steps that follow.
    """

    name: Annotated[str, msgspec.Meta(max_length=1000)]
    delegate: Annotated[str, msgspec.Meta(max_length=100)] | None
    sequence: Annotated[int, msgspec.Meta(ge=0)]
    call: Annotated[int, msgspec.Meta(ge=0)]
    step: Annotated[int, msgspec.Meta(ge=0)] | None = None
    ns: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]


class OutputAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """How close one output is to PyTorch's, over all cases.

    ``max_abs_error`` is the largest absolute difference; ``cosine`` the cosine similarity; ``sqnr_db`` the
    signal-to-quantization-noise ratio, 10·log10(Σr²/Σ(r−o)²). A perfect match has no finite SQNR: it is None then, and
    ``exact`` is true. ``finite`` is false when there is NaN or infinity where the reference has not: the other figures are
    None then. ``top1`` is the share of rows with their largest value at the same place, for outputs of shape
    ``[rows, classes]``; None for others. ``differing`` is how many of an output's ``values`` are another, where those are
    integers or booleans, places and decisions that are right or wrong; None for floating values.
    """

    name: str
    max_abs_error: float | None
    cosine: float | None
    sqnr_db: float | None
    exact: bool
    finite: bool = True
    top1: float | None = None
    cases: int = 1
    values: int = 0
    differing: int | None = None


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The worst of all outputs, figure by figure, as :class:`OutputAgreement` defines them; and each output's own.

    Integers and booleans count only where there is nothing else: there is no noise in a decision.

    ``language`` is there for a language model, whose outputs are logits.
    """

    max_abs_error: float | None
    cosine: float | None
    sqnr_db: float | None
    exact: bool
    finite: bool = True
    top1: float | None = None
    outputs: tuple[OutputAgreement, ...] = ()
    language: LanguageAgreement | None = None


class RuntimeAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """What one runtime of this machine made of an artifact; ``runtime`` is its engine with the version."""

    runtime: str
    agreement: Agreement


class MetricResult(msgspec.Struct, frozen=True, kw_only=True):
    """The user's own metric: by the floating PyTorch model (``reference``), and by the artifact (``value``).

    ``drop`` is how much worse the artifact is, in the metric's unit; negative when it is better. Both are None when the
    artifact's outputs left no number. ``calls`` is on how many inputs it was evaluated.
    """

    metric: str
    higher_is_better: bool
    reference: float
    value: float | None
    drop: float | None
    calls: int


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A module of the model whose output can be looked at: its path, class, and the user's line that calls it, if known."""

    method: str
    module: str
    kind: str
    source: str = ""


class LayerOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Which output of a layered export, counted per method, is that of a layer."""

    layer: Layer
    output: int


class LayerAgreement(msgspec.Struct, frozen=True, kw_only=True):
    """How close the output of one layer is to PyTorch's: the figures as in :class:`OutputAgreement`."""

    layer: Layer
    sqnr_db: float | None
    exact: bool
    finite: bool


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """One processor as the kernel numbers it. Frequencies in Hz; None where the device does not say.

    ``max_hz`` is the most that it can, ``limit_hz`` the most that it may at this moment.
    """

    index: int
    current_hz: int | None = None
    max_hz: int | None = None
    limit_hz: int | None = None
    governor: str | None = None


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is and how it is at this moment. None means that the device did not say, never a guess.

    ``oom_kills`` is how many processes the kernel has ended since it started because memory ran out.
    ``throttle_count`` is how often its processors were too hot since it started. ``plugged``: it gets power from outside.
    """

    os: str
    os_version: str | None = None
    os_build: str | None = None
    kernel: str | None = None
    model: str | None = None
    soc: str | None = None
    abi: str | None = None
    cores: tuple[Core, ...] = ()
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    oom_kills: int | None = None
    storage_free_bytes: int | None = None
    temperatures_c: dict[str, float] = {}
    thermal_status: str | None = None
    throttled: bool | None = None
    throttle_count: int | None = None
    battery_percent: int | None = None
    battery_charging: bool | None = None
    plugged: bool | None = None
    battery_saver: bool | None = None
    load_average_1m: float | None = None
    properties: dict[str, str] = {}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances of a measurement, before, after and, where the device could be watched, in between.

    ``start`` is None where nothing was waited for, ``fixed_clock`` where nobody asked for one.
    """

    runner: str
    engine: str
    engine_version: str
    threads: int
    cpus: tuple[int, ...]
    clock: str
    clock_resolution_ns: int
    host: str
    before: DeviceFacts
    after: DeviceFacts
    during: During | None = None
    start: Start | None = None
    fixed_clock: FixedClock | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """All processes of one run of one artifact on one device; ``profile`` is None where the runner cannot tell.

    ``cold_load`` is that of a process before all others.
    """

    processes: tuple[ProcessSamples, ...]
    device_sha256: str
    environment: Environment
    agreement: Agreement
    profile: Profile | None = None
    cold_load: ColdLoad | None = None
    energy: Energy | None = None
    mode_figures: ModeFigures | None = None
