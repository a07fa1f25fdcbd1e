"""What a kind of device is: a target, its lanes, and how one measures on it."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgedeploy.domain.mode import Burst, Cold, Concurrent, Mode, Sustained, Throughput

Os = Literal["android", "linux", "macos", "ios", "host"]
Abi = Literal["android-arm64", "linux-aarch64", "linux-x86_64", "macos-arm64", "ios-arm64", "host"]
Inputs = Literal["fixed", "varied"]
ComputeUnits = Literal["all", "cpu-only", "cpu-and-gpu", "cpu-and-ne"]
Name = Annotated[
    str, Meta(pattern=r"^(?![\s\S]*\n)[a-z0-9][a-z0-9._-]*$", description="lower case letters, digits, '.', '_', '-'")
]
PositiveInt = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Pause = Annotated[float, Meta(ge=0, le=86_400)]
Processes = Annotated[int, Meta(gt=0, le=1000)]
WarmupIterations = Annotated[int, Meta(ge=0, le=10_000_000)]
Threads = Annotated[int, Meta(ge=0, le=1024)]
Cpu = Annotated[int, Meta(ge=0, lt=1024)]
StartTemperature = Annotated[float, Meta(gt=0, le=150)] | Literal["any", "idle"]
EnergySeconds = Annotated[float, Meta(ge=0, le=3600)]
FixedClockWish = bool | Annotated[int, Meta(ge=1_000_000, le=100_000_000_000, description="Hz")]
StartLoad = Annotated[float, Meta(gt=0, le=1024)]
VelaSection = Annotated[str, Meta(pattern=r"^(?![\s\S]*\n)[A-Za-z0-9_]*$")]
Iterations = Annotated[int, Meta(gt=0, le=10_000_000, description="what a runner keeps room for")]


class Lane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """One way a model gets onto a target: an exporter, the backend it lowers to, and a precision."""

    exporter: Name
    backend: Name
    precision: Name

    @property
    def id(self) -> str:
        """``executorch-xnnpack-fp32``: used in paths, reports and history."""
        return f"{self.exporter}-{self.backend}-{self.precision}"

    def is_of(self, exporter: str) -> bool:
        """Whether it is of an exporter as the user names it, alone or with a backend: ``tflite``, ``executorch-vulkan``."""
        return exporter in {self.exporter, f"{self.exporter}-{self.backend}"}


class LaneOffer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exporter's backend that a target runs, in every precision the exporter has for it, or in those named here."""

    exporter: Name
    backend: Name
    precisions: tuple[Name, ...] = ()


class CoreGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cores of one kind, in the order in which the kernel numbers them.

    The peak rates are those of one core, a multiply-accumulate counted as two operations; int8 with the instructions that
    XNNPACK uses there. Each kind of rate that is set needs an entry ``soc.cores.<key>`` in the target's ``sources``.
    """

    count: PositiveInt
    name: str
    max_clock_hz: PositiveInt | None = None
    fp32_flops_per_cycle: PositiveInt | None = None
    fp16_flops_per_cycle: PositiveInt | None = None
    int8_ops_per_cycle: PositiveInt | None = None

    def rates(self) -> tuple[str, ...]:
        """Names of the peak rates that are set."""
        names = ("fp32_flops_per_cycle", "fp16_flops_per_cycle", "int8_ops_per_cycle")
        return tuple(name for name in names if getattr(self, name) is not None)


class Soc(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The chip and the memory beside it. Every key that is set needs an entry in the target's ``sources``."""

    name: str = ""
    cores: tuple[CoreGroup, ...] = ()
    memory_bytes: PositiveInt | None = None
    memory_bandwidth_bytes_per_s: PositiveInt | None = None
    features: tuple[str, ...] = ()


class EthosU(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Ethos-U NPU of a target, in the words of Arm's Vela compiler, which compiles for just one.

    ``system_config`` and ``memory_mode`` are sections of Vela's own ``Arm/vela.ini``; empty: what ExecuTorch takes for the NPU.
    """

    config: Annotated[
        str,
        Meta(
            pattern=r"^(?![\s\S]*\n)ethos-u(55-(32|64|128|256)|65-(256|512)|85-(128|256|512|1024|2048))$",
            description="the NPU and its multiply-accumulates per cycle: ethos-u55-128, ethos-u65-256, ethos-u85-256, …",
        ),
    ]
    system_config: VelaSection = ""
    memory_mode: VelaSection = ""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a fact comes from.

    ``verified`` is the date on which a probe on a real unit agreed with it; absent, nobody has checked it on hardware.
    """

    origin: Annotated[str, Meta(min_length=8, description="an address or a document a reader can open")]
    verified: dt.date | None = None


class MeasurePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How latency is measured on a target unless a project says otherwise.

    A process is warmed up by ``warmup_iterations``, and on from there until it is steady or ``warmup_seconds`` are over; then it
    is timed for ``iterations`` and ``min_seconds``, whichever takes longer, but for ``max_seconds`` at most. ``inputs``: all
    iterations on the first golden case, or on all of them in turn.

    Before it begins, a device is waited for, ``start_wait_s`` at most (0: not at all): until nothing throttles it, no more than
    ``start_load`` processors are at work, and it is no hotter than ``start_temperature_c`` ("idle": until it cools no further).
    ``fixed_clock``: the processors in use are held at their greatest clock, or at so many Hz, where the device lets us.

    Energy is measured in passes of ``energy_s`` (0: not), by the device's own instruments, or by ``energy_command``, which runs
    on this machine and prints watts or joules.

    ``mode`` is how inferences follow on one another while they are timed (docs/modes.md); each mode but ``single`` has settings
    of its own.
    """

    processes: Processes = 3
    warmup_iterations: WarmupIterations = 10
    warmup_seconds: Pause = 5.0
    iterations: Iterations = 100
    min_seconds: Pause = 0.0
    max_seconds: Seconds = 20.0
    threads: Threads = 1
    cpus: tuple[Cpu, ...] = ()
    cooldown_s: Pause = 0.0
    inputs: Inputs = "fixed"
    start_wait_s: Pause = 0.0
    start_temperature_c: StartTemperature = "any"
    start_load: StartLoad = 0.5
    fixed_clock: FixedClockWish = False
    energy_s: EnergySeconds = 0.0
    energy_command: str = ""
    mode: Mode = "single"
    burst: Burst = Burst()
    sustained: Sustained = Sustained()
    cold: Cold = Cold()
    throughput: Throughput = Throughput()
    concurrent: Concurrent = Concurrent()


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of device, as read from one file of ``targets/``.

    ``lanes`` and ``runtimes`` are ordered: the first that fits is taken. ``match`` tells how a unit found over ADB is
    recognised: every Android property named there has to have one of the values given. ``runtime_versions`` names engines of the
    device that are not the newest (``{"tflite-runtime" = "2.14.0"}``): what they cannot read is not sent. ``compute_units``
    is what Core ML may use, ``ethos_u`` the NPU that the backend ``ethos-u`` compiles for. With ``trusted_keys``
    (``ssh-ed25519 …``), only what is signed by one of them is deployed.
    """

    name: Name
    title: str
    os: Os
    abi: Abi
    transports: Annotated[tuple[Name, ...], Meta(min_length=1)]
    workdir: Annotated[str, Meta(min_length=1)]
    lanes: Annotated[tuple[LaneOffer, ...], Meta(min_length=1)]
    runtimes: tuple[Name, ...] = ()
    runtime_versions: dict[str, str] = {}
    compute_units: ComputeUnits = "all"
    ethos_u: EthosU | None = None
    min_os: str = ""
    match: dict[str, tuple[str, ...]] = {}
    soc: Soc = Soc()
    measure: MeasurePolicy = MeasurePolicy()
    trusted_keys: tuple[str, ...] = ()
    sources: dict[str, Source] = {}
    notes: str = ""
