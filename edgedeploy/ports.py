"""What the core asks of adapters. Each is found by an entry point and loaded when it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import msgspec

from edgedeploy.domain.artifact import Artifact, DelegateGraph, Format, Operator, TensorSpec
from edgedeploy.domain.device import Device
from edgedeploy.domain.footprint import Footprint
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.plan import Obstacle
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, ComputeUnits, EthosU, Lane, MeasurePolicy, Os, Target

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

Emit = Callable[[str], None]
TurnSide = Literal["A", "B"]
ByteProgress = Callable[[int], None]


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an exporter is told. ``folder`` exists, is empty, and is where the exporter writes."""

    lane: Lane
    os: Os
    min_os: str
    compute_units: ComputeUnits = "all"
    runtime_versions: dict[str, str] = {}
    ethos_u: EthosU | None = None
    folder: str


class ExportedMethod(msgspec.Struct, frozen=True, kw_only=True):
    """One method of an export; ``entry`` is what the artifact calls it.

    ``inputs`` and ``outputs`` are as the artifact declares them, in the order in which the runner takes and gives them.
    """

    name: str = "forward"
    entry: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an exporter wrote into its folder: ``entry`` (a file, or the folder of a package), its methods and operators.

    ``methods`` are those of the model, in its order.
    """

    entry: str
    methods: tuple[ExportedMethod, ...]
    operators: tuple[Operator, ...] = ()
    delegate_graphs: tuple[DelegateGraph, ...] = ()
    inspection: dict[str, str]


class Lacking(msgspec.Struct, frozen=True, kw_only=True):
    """An SDK or a program that a lane needs and that is not installed: ``what`` it is, and ``how`` to get it."""

    what: str
    how: str


class Exporter(Protocol):
    """Turns a model into a file of one format. Runs in a worker process; its SDK is imported inside ``export`` only."""

    name: str
    format: Format
    extra: str
    """The pip extra that brings the SDK."""

    def lanes(self) -> tuple[Lane, ...]:
        """Every lane this exporter offers."""

    def toolchain(self) -> tuple[str, ...]:
        """Names of the distributions whose versions decide the result; part of the cache key."""

    def compilers(self, lane: Lane) -> tuple[str, ...]:
        """Those that decide the result of this lane besides :meth:`toolchain`; :meth:`lacking` says what is missing of them."""

    def lacking(self, lane: Lane) -> Lacking | None:
        """What a lane needs besides :meth:`toolchain` and is not here; None when it is complete. Imports no SDK."""

    def footprint(self, profile: ModelProfile, lane: Lane) -> Footprint | None:
        """What an export by ``lane`` would weigh and take; None where that is not known. Pure: imports no SDK."""

    def refusals(self, profile: ModelProfile, lane: Lane, target: Target) -> tuple[Obstacle, ...]:
        """Why an export by ``lane`` would fail, as far as a profile tells. Pure: imports no SDK.

        Only what an export has been seen to refuse: silence promises nothing.
        """

    def export(self, model: LoadedModel, request: ExportRequest, emit: Emit) -> Exported:
        """Convert ``model``.

        Raises:
            ExportError: the SDK refuses; ``where`` is the operator and its source line where they are known.
        """


@runtime_checkable
class LanguageExporter(Protocol):
    """An exporter that also takes language models (``LoadedModel.language``), and writes programs that keep their cache."""

    def language_lanes(self) -> tuple[Lane, ...]:
        """Those of its lanes that do."""


class Compressor(Protocol):
    """Makes a model smaller before the export. Runs in a worker process."""

    name: str

    def check(self, settings: Mapping[str, float | int | str | bool]) -> None:
        """Refuse settings that make no sense, before minutes are spent.

        Raises:
            CompressError: naming the setting.
        """

    def compress(self, model: LoadedModel, settings: Mapping[str, float | int | str | bool], emit: Emit) -> LoadedModel:
        """Return the compressed model; ``model`` itself is not changed."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A command that ended on a device. ``exit_code`` above 128 follows the shell's convention for signals."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Feed(Protocol):
    """An open file or pipe of this machine whose bytes go to a command on a device."""

    def fileno(self) -> int:
        """What is read from, by this process or by a program it starts."""

    def taken_bytes(self) -> int:
        """How many bytes of the user's have gone out of it so far."""


class Connection(Protocol):
    """An open way to one device. Not shared between threads, but for ``close``."""

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        """Run one command and wait. Arguments arrive as they are given: quoting is the transport's business.

        Raises:
            DeviceLostError: the device went away.
            CommandTimeoutError: the command did not end within ``timeout_s``, and was killed.
        """

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        """Run one command with all of ``source`` on its stdin, for as long as something moves.

        ``progress`` gets the bytes taken since the last call. A command that ends early ends this, too: its exit code and
        stderr say why.

        Raises:
            DeviceLostError: the device went away.
            CommandTimeoutError: the device is there, and nothing has moved for ``quiet_s``; the command was killed.
        """

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a file of the device to ``local``, replacing it."""

    def close(self) -> None:
        """Let go, from whichever thread; a call that is under way elsewhere ends with DeviceLostError. Never raises."""


RUNNER_APP = "edgedeploy-runner"
"""What our app for devices without a shell is called where a program's name is wanted."""

APP_FOLDER = "Documents/edgedeploy"
"""Where it keeps everything, from its container on."""


@runtime_checkable
class AppConnection(Connection, Protocol):
    """An open way to a device that has no shell: all that runs there is our app, and all that it has is a folder of its own.

    ``run`` knows one program, :data:`RUNNER_APP`, in a process that is new each time; paths are relative to its container.
    ``pour`` knows none. Nothing can be removed or renamed from outside: the app removes (docs/runner-protocol.md).
    """

    host: Connection
    """The machine that the device hangs on; it has a shell."""

    def files(self) -> Mapping[str, int]:
        """Every file in the app's container that is ours, with its size in bytes.

        Raises:
            DeviceLostError: the device went away.
        """

    def put(self, source: Feed, remote: str, *, size_bytes: int, progress: ByteProgress) -> None:
        """Make a file of all that is in ``source``, in place of one that is there, with the folders on the way to it.

        One that was broken off may leave a file that is cut short. ``progress`` gets the bytes taken since the last call.

        Raises:
            DeviceLostError: the device went away.
            DeviceStorageError: it is full.
        """


class Transport(Protocol):
    """A kind of connection."""

    name: str

    def discover(self) -> tuple[Device, ...]:
        """Devices that are there without being named in a lab file, in any state.

        Raises:
            MissingToolError: the client program is not installed.
        """

    def state(self, device: Device) -> Device:
        """The same device with ``state`` and ``detail`` as they are now; within a few seconds, without changing it."""

    def connect(self, device: Device) -> Connection:
        """Open a connection.

        Raises:
            DeviceUnavailableError: off, locked, not authorised, unknown host key; with the way out.
        """


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """What a language model is to do: answer prompts, score a text, or both. Paths are the device's; empty: no text.

    ``prefill_tokens`` is the most that one call takes; ``window`` how many tokens of the text know of each other.
    """

    prompts: tuple[str, ...] = ()
    generate_tokens: int = 0
    prefill_tokens: int
    text: str = ""
    window: int = 0


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """Two processes take turns (docs/runner-protocol.md). ``schedule`` has a letter per turn, and ``side`` is this one's."""

    schedule: str
    side: TurnSide
    turn_s: float


class Bursts(msgspec.Struct, frozen=True, kw_only=True):
    """The policy's iterations, so many times, each time after a rest."""

    count: int
    idle_s: float


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What one start of a runner is about; paths are the device's.

    ``inputs`` have the shapes of the files given; a language model that is run token by token has a ``talk`` in their place.
    ``method`` is what the artifact calls it (:class:`Method`'s ``entry``).
    ``profile``: time per operator instead of samples, which watching would colour. ``cold``: the model is taken out of the page
    cache before it is loaded. ``window_s``: it is timed for the policy's ``max_seconds``, and told by windows of so long (0: by
    iterations). ``barrier``: it waits for others before it is timed.
    """

    model: str
    method: str
    inputs: tuple[TensorSpec, ...]
    input_files: tuple[str, ...]
    output_dir: str
    policy: MeasurePolicy
    profile: bool = False
    cold: bool = False
    talk: Talk | None = None
    turns: Turns | None = None
    bursts: Bursts | None = None
    window_s: float = 0.0
    barrier: bool = False


class Runtime(Protocol):
    """A kind of runner: which formats it runs, on which ABIs, and which files it needs there."""

    name: str
    formats: frozenset[Format]

    def runs_on(self, abi: Abi, os: Os) -> bool:
        """Whether this runtime exists for that kind of device at all."""

    def bundle(self, abi: Abi, *, cache_dir: Path, emit: Emit) -> RunnerBundle:
        """The files for a device. May build or download once, and is cached.

        Raises:
            MissingToolError: naming what to install.
        """

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:
        """Why this runtime cannot run that artifact on a device whose Python has these packages; empty if it can.

        ``python_facts`` maps distribution names to versions; it is empty for a device without Python, and where
        ``uses_python`` is false.
        """

    uses_python: bool


class Probe(Protocol):
    """Facts and telemetry of an operating system: one command, one pure parser of what it prints."""

    name: str
    os: frozenset[Os]

    def command(self, workdir: str) -> Sequence[str]:
        """What prints everything the parser wants, most often one script for sh; always ends with code 0."""

    def parse(self, output: str) -> DeviceFacts:
        """Read what the command printed; what is missing there is None in the facts."""
