"""The document that a runner prints, and everything that can be there in its place (docs/runner-protocol.md)."""

from __future__ import annotations

import signal
from typing import Annotated, Literal, NoReturn, TypeVar

import msgspec
from msgspec import Meta

from edgedeploy.decoding import convert
from edgedeploy.domain.artifact import DType
from edgedeploy.domain.measurement import ColdLoad, Generation, ProcessSamples, ProfiledOperator, WarmUp
from edgedeploy.errors import RunnerError, RunnerKilledError

SCHEMA = "edgedeploy.runner/1"

Stage = Literal["usage", "read", "load", "input", "execute", "turn", "output"]
Count = Annotated[int, Meta(ge=0)]
DurationNs = Annotated[int, Meta(ge=0)]
SizeBytes = Annotated[int, Meta(ge=0)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

# A large language model has some ten thousand.
_OPERATORS_MAX = 200_000
_PROFILED_MAX = 100
_TURNS_MAX = 10_000
_WINDOWS_MAX = 10_000 + 2
# Longer ones are quoted in part: a runner gone wild must not fill the terminal or the report.
_QUOTE_MAX_CHARS = 600
# Exit codes above this are 128 + the signal's number, by the convention of POSIX shells.
_SIGNAL_BASE = 128
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


class RunnerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which program ran, and which engine with it."""

    name: str
    version: str
    engine: str
    engine_version: str


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """The model as the device read it."""

    sha256: Sha256
    size_bytes: SizeBytes


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """What the samples were taken with."""

    name: str
    resolution_ns: Count


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """One output: ``file`` in the output folder holds all cases, back to back; ``sha256`` is that of what was written."""

    dtype: DType
    shape: tuple[Count, ...]
    file: Annotated[str, Meta(pattern=r"^output_[0-9]+\.bin\Z")]
    sha256: Sha256 | None = None


class ProcessDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What every process of a runner reports. Unknown members are left aside, so that runners may grow."""

    schema: Literal["edgedeploy.runner/1"]
    runner: RunnerIdentity
    model: ModelFile
    threads: Count
    cpus: tuple[Count, ...]
    clock: Clock
    load_ns: DurationNs
    rss_before_load_bytes: SizeBytes
    peak_rss_bytes: SizeBytes
    pss_bytes: SizeBytes | None = None
    cpu_ns: DurationNs | None = None
    involuntary_switches: Count | None = None
    cached_bytes_before_load: SizeBytes | None = None
    turns: Annotated[tuple[TurnDocument, ...], Meta(max_length=_TURNS_MAX)] = ()

    @property
    def cold_load(self) -> ColdLoad:
        """How a load went that was to be cold."""
        return ColdLoad(load_ns=self.load_ns, size_bytes=self.model.size_bytes, cached_bytes=self.cached_bytes_before_load)


class TurnDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of one of two processes. ``began_ns`` is by the document's clock; its iterations follow those of the turn before."""

    began_ns: Count
    iterations: Annotated[int, Meta(ge=1)]


class WindowDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A window of time: ``iterations``, and of how many the latencies are told; they follow those of the window before."""

    began_ns: Count
    iterations: Annotated[int, Meta(ge=1)]
    kept: Annotated[int, Meta(ge=1)]


class SteadyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Steady from iteration ``since`` of the warm-up on, as was known after ``known`` of them."""

    since: Count
    known: Annotated[int, Meta(ge=1)]

    def __post_init__(self) -> None:
        if self.since >= self.known:
            raise ValueError(f"steady since iteration {self.since}, and known after {self.known}")


class RunnerDocument(ProcessDocument, frozen=True, kw_only=True):
    """All that a process reports that ran a model on inputs."""

    first_inference_ns: DurationNs
    warmup_ns: tuple[DurationNs, ...]
    warmup_iterations: Count | None = None
    steady: SteadyDocument | None = None
    latency_ns: tuple[DurationNs, ...]
    bursts: Annotated[tuple[TurnDocument, ...], Meta(max_length=_TURNS_MAX)] = ()
    windows: Annotated[tuple[WindowDocument, ...], Meta(max_length=_WINDOWS_MAX)] = ()
    timed_ns: DurationNs | None = None
    suspended_ns: DurationNs | None = None
    cases: Annotated[int, Meta(ge=1)]
    outputs: tuple[OutputFile, ...]
    profiled_ns: Annotated[tuple[DurationNs, ...], Meta(max_length=_PROFILED_MAX)] = ()
    operators: Annotated[tuple[ProfiledOperator, ...], Meta(max_length=_OPERATORS_MAX)] = ()

    def __post_init__(self) -> None:
        """Every operator has one time per profiled invocation, and every timed iteration is of a turn where there are turns."""
        for taken, parts in (
            (sum(turn.iterations for turn in self.turns), "turns"),
            (sum(burst.iterations for burst in self.bursts), "bursts"),
            (sum(window.kept for window in self.windows), "windows"),
        ):
            if taken and taken != len(self.latency_ns):
                raise ValueError(f"{len(self.latency_ns)} iterations in {parts} of {taken}")
        for operator in self.operators:
            if len(operator.ns) != len(self.profiled_ns):
                raise ValueError(
                    f"operator '{operator.name}' has {len(operator.ns)} times, there are {len(self.profiled_ns)} invocations"
                )

    @property
    def warm_up(self) -> WarmUp | None:
        """How the warm-up went, where it was watched."""
        if self.warmup_iterations is None:
            return None
        steady = self.steady
        return WarmUp(iterations=self.warmup_iterations, steady_since=steady.since if steady else None)

    @property
    def samples(self) -> ProcessSamples:
        """The part that a measurement keeps per process."""
        return ProcessSamples(
            load_ns=self.load_ns,
            first_inference_ns=self.first_inference_ns,
            warmup_ns=self.warmup_ns,
            latency_ns=self.latency_ns,
            peak_rss_bytes=self.peak_rss_bytes,
            rss_before_load_bytes=self.rss_before_load_bytes,
            warm_up=self.warm_up,
            pss_bytes=self.pss_bytes,
            cpu_ns=self.cpu_ns,
            involuntary_switches=self.involuntary_switches,
        )


class GeneratedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one prompt."""

    prompt_tokens: Annotated[int, Meta(ge=1)]
    prefill_ns: DurationNs
    ttft_ns: DurationNs
    decode_ns: tuple[DurationNs, ...]
    tokens: Annotated[tuple[Count, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        if len(self.decode_ns) != len(self.tokens) - 1:
            raise ValueError(f"{len(self.tokens)} tokens with {len(self.decode_ns)} times between them")


class ScoreDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The negative log-likelihood of a text, in nats, summed over ``tokens``."""

    tokens: Annotated[int, Meta(ge=1)]
    nll: Annotated[float, Meta(ge=0)]


class LanguageDocument(ProcessDocument, frozen=True, kw_only=True):
    """All that a process reports that ran a language model token by token."""

    generation: tuple[GeneratedDocument, ...]
    score: ScoreDocument | None = None

    @property
    def samples(self) -> ProcessSamples:
        """The part that a measurement keeps per process: the first prompt's."""
        first = self.generation[0]
        return ProcessSamples(
            load_ns=self.load_ns,
            first_inference_ns=first.ttft_ns,
            warmup_ns=(),
            latency_ns=first.decode_ns,
            peak_rss_bytes=self.peak_rss_bytes,
            rss_before_load_bytes=self.rss_before_load_bytes,
            pss_bytes=self.pss_bytes,
            cpu_ns=self.cpu_ns,
            involuntary_switches=self.involuntary_switches,
            generation=Generation(
                prompt_tokens=first.prompt_tokens,
                prefill_ns=first.prefill_ns,
                ttft_ns=first.ttft_ns,
                decode_ns=first.decode_ns,
                tokens=first.tokens,
            ),
        )


DocumentT = TypeVar("DocumentT", bound=ProcessDocument)
AnyDocumentT = TypeVar("AnyDocumentT", bound=msgspec.Struct)


class _Failure(msgspec.Struct, frozen=True):
    stage: Stage
    message: str


class _FailureDocument(msgspec.Struct, frozen=True):
    schema: Literal["edgedeploy.runner/1"]
    error: _Failure


_ADVICE_BY_STAGE: dict[Stage, str] = {
    "usage": "update edgedeploy's runner on the device: it does not take the arguments of this version",
    "read": "push again: a file of the release is missing on the device, or cannot be read there",
    "load": "export again, or choose another lane: this engine cannot load the model",
    "input": "export again: the artifact's inputs and the model's do not agree",
    "turn": "another process, for which this one waited, ended too soon: it says why",
    "execute": "choose another lane or precision: the model fails while it runs on this device",
    "output": "free some storage on the device, and check that its working folder can be written",
}

# Numbers are Linux's; the first sixteen, which are all that matter here, are the same on every POSIX system.
_SIGNAL_NAMES: dict[int, str] = {int(member): member.name for member in signal.Signals}

_ADVICE_BY_SIGNAL: dict[int, str] = {
    signal.SIGILL: (
        "the program uses an instruction that this processor does not have: check the target's abi and the "
        "processor's features, or try another runtime"
    ),
    signal.SIGKILL: (
        "the kernel most likely ended it because memory ran out: try a smaller model or precision, or close other "
        "programs on the device"
    ),
    signal.SIGSEGV: "the engine crashed: try another lane, and report it with the artifact if it stays",
    signal.SIGBUS: "the model's file was cut short while it was mapped: push again",
    signal.SIGABRT: "the engine gave up: its last words are above",
    signal.SIGTERM: "something on the device ended it",
    signal.SIGHUP: "the connection ended while it ran",
}

# What loaders, kernels and shells say when a program cannot even start -> what it means.
_ADVICE_BY_TEXT: dict[str, str] = {
    "GLIBC_": (
        "the device's C library is older than the runner's (glibc 2.34, as in Debian 12 and Ubuntu 22.04): update the "
        "device's system, or use a runtime that needs only Python"
    ),
    "error while loading shared libraries": (
        "a library is missing on the device: libstdc++6 and libgcc-s1 are needed besides what was pushed"
    ),
    "Exec format error": "the program is for another processor: check the target's abi",
    "not executable: 64-bit ELF file": "the device runs 32-bit programs only: check the target's abi",
    "No module named": "install the missing package for the device's Python",
}


def _quote(content: bytes) -> str:
    """Return the text in one line, its middle left out when it is long."""
    # Cut first: decoding and escaping megabytes only to throw them away takes seconds.
    half = _QUOTE_MAX_CHARS // 2
    if len(content) > 8 * _QUOTE_MAX_CHARS:
        left_out = len(content) - 2 * half
        content = content[:half] + f" [… {left_out} bytes …] ".encode() + content[-half:]
    text = " ".join(content.decode("utf-8", "replace").split())
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    if len(text) > _QUOTE_MAX_CHARS:
        text = f"{text[:half]} [… {len(text) - 2 * half} characters …] {text[-half:]}"
    return text


def _signal_of(exit_code: int) -> int | None:
    if exit_code < 0:
        return -exit_code
    number = exit_code - _SIGNAL_BASE
    return number if number in _SIGNAL_NAMES else None


def _advice(exit_code: int, stderr: bytes) -> str:
    text = stderr[-65536:].decode("utf-8", "replace")
    for sign, advice in _ADVICE_BY_TEXT.items():
        if sign in text:
            return advice
    if exit_code == _NOT_EXECUTABLE:
        return "check the target's abi, and that its workdir is on a file system that allows programs (mount | grep noexec)"
    if exit_code == _NOT_FOUND:
        return (
            "the program is missing, or the loader it asks for: a device of another abi, or one without glibc, says "
            "'not found' about a file that is there; push again and check the target's abi"
        )
    return "run again with the runner's messages shown; if it stays, report it as a bug"


def _reject_silence(exit_code: int, stderr: bytes, where: str) -> NoReturn:
    said = _quote(stderr) or "nothing on stdout or stderr"
    number = _signal_of(exit_code)
    if number is not None:
        name = _SIGNAL_NAMES.get(number, f"signal {number}")
        advice = _ADVICE_BY_SIGNAL.get(number, "run it again; if it stays, try another lane or runtime")
        kind = RunnerKilledError if number == signal.SIGKILL else RunnerError
        raise kind(f"the runner died of {name}", where=where, seen=said, next_step=advice)
    what = {
        0: "the runner ended without printing its document",
        _NOT_EXECUTABLE: "the runner is not executable on this device (exit code 126)",
        _NOT_FOUND: "the runner, or something it needs to start, was not found on this device (exit code 127)",
    }.get(exit_code, f"the runner ended with code {exit_code} without printing its document")
    raise RunnerError(what, where=where, seen=said, next_step=_advice(exit_code, stderr))


def _reject_text(stdout: bytes, exit_code: int, stderr: bytes, where: str) -> NoReturn:
    number = _signal_of(exit_code)
    if number is not None:
        _reject_silence(exit_code, stderr, where)
    seen = f"{_quote(stdout)} (exit code {exit_code}; stderr: {_quote(stderr) or 'empty'})"
    if stdout.lstrip().startswith(b"{"):
        what, advice = "the runner's document is cut off or damaged", "check that the connection held, and run again"
    else:
        what, advice = "the runner printed something else than its document", _advice(exit_code, stderr)
    raise RunnerError(what, where=where, seen=seen, next_step=advice)


def _reject_failure(content: object, stdout: bytes, exit_code: int, where: str) -> NoReturn:
    try:
        failure = convert(content, _FailureDocument).error
    except msgspec.ValidationError as error:
        raise RunnerError(
            f"the runner's report of a failure breaks the protocol: {error}",
            where=where,
            seen=_quote(stdout),
            next_step="report it as a bug of the runner",
        ) from error
    raise RunnerError(
        f"the runner failed at stage '{failure.stage}'",
        where=where,
        seen=f"{_quote(failure.message.encode('utf-8', 'replace'))} (exit code {exit_code})",
        next_step=_ADVICE_BY_STAGE[failure.stage],
    )


def parse_document(stdout: bytes, *, exit_code: int, stderr: bytes, where: str, kind: type[AnyDocumentT]) -> AnyDocumentT:
    """Read what a runner left behind.

    Args:
        kind: what it was asked for.
        stdout: everything it printed there.
        exit_code: as the shell gives it (128 + signal), or negative as ``subprocess`` does.
        stderr: everything it printed there; only ever quoted.
        where: a place the user knows, e.g. the device's name; begins every message.

    Raises:
        RunnerError: a failure the runner reported itself, a crash, silence, or anything that is not its document;
            with a quote of bounded length and what to do.
    """
    if not stdout.strip():
        _reject_silence(exit_code, stderr, where)
    try:
        content = msgspec.json.decode(stdout)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = None
    if not isinstance(content, dict):
        _reject_text(stdout, exit_code, stderr, where)
    schema = content.get("schema")
    if schema != SCHEMA:
        raise RunnerError(
            f"the runner's document has schema {_quote(repr(schema).encode('utf-8', 'replace'))}, "
            f"this edgedeploy reads '{SCHEMA}'",
            where=where,
            seen=_quote(stdout),
            next_step="push again with this version of edgedeploy, so that runner and host match",
        )
    if "error" in content:
        _reject_failure(content, stdout, exit_code, where)
    try:
        document = convert(content, kind)
    except msgspec.ValidationError as error:
        raise RunnerError(
            f"the runner's document breaks the protocol: {_quote(str(error).encode('utf-8', 'replace'))}",
            where=where,
            seen=_quote(stdout),
            next_step="report it as a bug of the runner",
        ) from error
    if exit_code != 0:
        # A whole document and yet no success: something is wrong that the document does not tell.
        raise RunnerError(
            f"the runner printed its document, and then ended with code {exit_code}",
            where=where,
            seen=_quote(stderr) or "nothing on stderr",
            next_step="do not trust this run: run it again, and report it as a bug if it stays",
        )
    return document
