#!/usr/bin/env python3
"""A runner in one file, for devices that have Python: same arguments and document as the native ones.

The contract is docs/runner-protocol.md of edgedeploy. This file is copied to the device and run there by whatever
Python it has (3.8 or newer), beside numpy and the engine: ``executorch`` for ``.pte``; ``ai-edge-litert``,
``tflite-runtime`` or ``tensorflow`` for ``.tflite``; ``coremltools`` on a Mac for ``.mlpackage``. It imports nothing of
edgedeploy, and engines only after the arguments are known to be right.

The Core ML part was written from Apple's documentation and has never been run by the project: it needs a Mac.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import functools
import gc
import glob
import hashlib
import importlib
import importlib.util
import json
import math
import mmap
import os
import platform
import resource
import struct
import sys
import time
from importlib import metadata
from typing import Any, Callable, Iterator, NoReturn

SCHEMA = "edgedeploy.runner/1"
VERSION = "0.1.0"
NAME = "edgedeploy-agent"
ELEMENT_SIZE_BYTES = {
    "float32": 4,
    "float16": 2,
    "float64": 8,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
PACKAGES = (
    "numpy",
    "torch",
    "executorch",
    "ai-edge-litert",
    "tflite-runtime",
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-aarch64",
    "coremltools",
    "openvino",
)
EXIT_FAILED = 1
EXIT_WRONG_ARGUMENTS = 64
MAX_ITERATIONS = 10_000_000
MAX_THREADS = 1024
MAX_CPUS = 1024
MAX_PROFILED = 100
MAX_TURNS = 10_000
MAX_BURSTS = 10_000
MAX_IDLE_SECONDS = 3600
MAX_WINDOWS = 10_000
WINDOW_KEPT = 100
BATON_OUT = 3
UNTIMED_SHARE = 0.1  # of a turn
# Until a process is steady, fast iterations come by the hundred thousand: no more are told, unless asked for by number.
WARMUPS_TOLD = 10_000


class RunnerFailure(Exception):
    """Something the host has to be told; ``stage`` is one of the protocol's."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class Tensor:
    """Element type and shape, as the protocol writes them."""

    def __init__(self, dtype: str, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape

    @property
    def size_bytes(self) -> int:
        size = ELEMENT_SIZE_BYTES[self.dtype]
        for dim in self.shape:
            size *= dim
        return size

    def __str__(self) -> str:
        return "{}[{}]".format(self.dtype, ",".join(str(dim) for dim in self.shape))


class Input(Tensor):
    """One ``--input``: a tensor and the file with its cases."""

    def __init__(self, dtype: str, shape: tuple[int, ...], file: str) -> None:
        super().__init__(dtype, shape)
        self.file = file


# ---------------------------------------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunnerFailure("usage", message)


def _integer(maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() would also take signs, blanks, underscores and digits of other scripts.
        if not text.isascii() or not text.isdigit() or int(text) > maximum:
            raise argparse.ArgumentTypeError(f"wants an integer from 0 to {maximum}, got {text!r}")
        return int(text)

    return parse


def _seconds_or_none(text: str) -> float:
    return 0.0 if text == "0" else _seconds(text)


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"wants 0 or 1, got {text!r}")
    return text == "1"


def _seconds(text: str) -> float:
    try:
        value = float(text) if text[:1].isdigit() else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"wants a number of seconds above 0, got {text!r}")
    return value


def _name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("wants a name")
    return text


def _turns(text: str) -> str:
    if not 0 < len(text) <= MAX_TURNS or set(text) - {"A", "B"}:
        raise argparse.ArgumentTypeError(f"wants up to {MAX_TURNS} letters A and B, got {text!r}")
    return text


def _cpus(text: str) -> list[int]:
    return [_integer(MAX_CPUS - 1)(part) for part in text.split(",")]


def _input(text: str) -> Input:
    dtype, _, rest = text.partition(":")
    dims, colon, file = rest.partition(":")
    if not colon or not file:
        raise argparse.ArgumentTypeError(f"wants DTYPE:DIMS:FILE, got {text!r}")
    if dtype not in ELEMENT_SIZE_BYTES:
        raise argparse.ArgumentTypeError(f"has an unknown dtype {dtype!r}")
    shape = tuple(_integer(2**31 - 1)(dim) for dim in dims.split(",")) if dims else ()
    return Input(dtype, shape, file)


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        RunnerFailure: of stage ``usage``.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", dest="inputs", action="append", default=[], type=_input)
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--method", type=_name, default=None)
    parser.add_argument("--warmup", type=_integer(MAX_ITERATIONS), default=5)
    parser.add_argument("--warmup-seconds", type=_seconds_or_none, default=0.0)
    parser.add_argument("--iterations", type=_integer(MAX_ITERATIONS), default=50)
    parser.add_argument("--min-seconds", type=_seconds_or_none, default=0.0)
    parser.add_argument("--max-seconds", type=_seconds, default=30.0)
    parser.add_argument("--cold", type=_switch, default=False)
    parser.add_argument("--vary", type=_switch, default=False)
    parser.add_argument("--threads", type=_integer(MAX_THREADS), default=1)
    parser.add_argument("--profile", type=_integer(MAX_PROFILED), default=0)
    parser.add_argument("--cpus", type=_cpus, default=None)
    parser.add_argument("--turns", type=_turns, default=None)
    parser.add_argument("--side", choices=("A", "B"), default=None)
    parser.add_argument("--turn-seconds", type=_seconds, default=0.05)
    parser.add_argument("--bursts", type=_integer(MAX_BURSTS), default=0)
    parser.add_argument("--idle-seconds", type=_seconds, default=0.0)
    parser.add_argument("--window-seconds", type=_seconds, default=0.0)
    parser.add_argument("--barrier", type=_switch, default=False)
    arguments = parser.parse_args(argv)
    _check_turns(parser, arguments)
    _check_ways(parser, arguments)
    return arguments


def _check_turns(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if bool(arguments.turns) != bool(arguments.side):
        parser.error("--turns and --side need each other")
    if not arguments.turns:
        return
    own = arguments.turns.count(arguments.side)
    if not own:
        parser.error(f"--turns has no turn of side {arguments.side}")
    if arguments.profile:
        parser.error("--profile takes no turns")
    if not 0 < arguments.iterations <= MAX_ITERATIONS // own:
        parser.error(f"--turns times --iterations is not within 1 to {MAX_ITERATIONS}")


def _check_ways(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """How the timed iterations follow on one another: there is one way at a time."""
    bursts, windows = arguments.bursts, arguments.window_seconds
    if bool(bursts) != bool(arguments.idle_seconds):
        parser.error("--bursts, at least 1, and --idle-seconds need each other")
    if arguments.idle_seconds > MAX_IDLE_SECONDS:
        parser.error(f"--idle-seconds is more than {MAX_IDLE_SECONDS}")
    if sum(map(bool, (arguments.turns, bursts, windows, arguments.profile))) > 1:
        parser.error("--turns, --bursts, --window-seconds and --profile do not go together")
    if arguments.barrier and (arguments.turns or arguments.profile):
        parser.error("--barrier takes neither --turns nor --profile")
    if (bursts or windows or arguments.barrier) and not arguments.iterations:
        parser.error("--bursts, --window-seconds and --barrier want at least one of --iterations")
    if bursts and arguments.iterations > MAX_ITERATIONS // bursts:
        parser.error(f"--bursts times --iterations is more than {MAX_ITERATIONS}")
    if windows and arguments.max_seconds / windows > MAX_WINDOWS:
        parser.error(f"--max-seconds has more than {MAX_WINDOWS} windows of --window-seconds")


# ------------------------------------------------------------------------------------- facts about this process


def status_field(key: str) -> int:
    """A number of ``/proc/self/status`` (Linux), or 0."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def resident_bytes() -> int:
    """Resident memory now; where the system does not say (macOS), its high-water mark until now."""
    return status_field("VmRSS") * 1024 or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Return the high-water mark of this process's resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # ru_maxrss survives exec and can be the parent's: VmHWM is asked first. It is in bytes on macOS only.
    return status_field("VmHWM") * 1024 or (peak if sys.platform == "darwin" else peak * 1024)


def proportional_bytes() -> int | None:
    """This process's share of the memory it uses (Pss); None where the system does not say."""
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii", errors="replace") as rollup:
            return next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), None)
    except OSError:
        return None


class Usage:
    """What all threads of this process use while it is watched: processor time, and how often one had to wait."""

    def __init__(self) -> None:
        self.cpu_ns = 0
        self.involuntary_switches = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        before = resource.getrusage(resource.RUSAGE_SELF)
        yield
        now = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu_ns += round((now.ru_utime - before.ru_utime + now.ru_stime - before.ru_stime) * 1e9)
        self.involuntary_switches += now.ru_nivcsw - before.ru_nivcsw

    def members(self) -> dict[str, int]:
        """Return the document's members."""
        return {"cpu_ns": self.cpu_ns, "involuntary_switches": self.involuntary_switches}


def pin_to_cpus(cpus: list[int]) -> None:
    """Keep this process, and every thread it starts later, on these processors."""
    if not hasattr(os, "sched_setaffinity"):
        raise RunnerFailure("usage", f"--cpus: {sys.platform} cannot pin a process to processors")
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise RunnerFailure("usage", f"--cpus: cannot pin to these processors: {error.strerror}") from error
    # The kernel silently drops processors that are offline or forbidden.
    missing = sorted(set(cpus) - os.sched_getaffinity(0))
    if missing:
        raise RunnerFailure("usage", f"--cpus: processor {missing[0]} cannot be used")


def cpus_in_force() -> list[int]:
    """Return the affinity mask, in ascending order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


# ---------------------------------------------------------------------------------------------------- files


def file_sha256(path: str) -> tuple[str, int]:
    """Digest and size of one file."""
    digest = hashlib.sha256()
    size_bytes = 0
    with open(path, "rb") as file:
        while True:
            chunk = file.read(1 << 20)
            if not chunk:
                return digest.hexdigest(), size_bytes
            digest.update(chunk)
            size_bytes += len(chunk)


def model_sha256(path: str) -> tuple[str, int]:
    """Digest and size of a model, which may be a folder (see the protocol)."""
    if not os.path.isdir(path):
        return file_sha256(path)
    if not path.rstrip("/").endswith(".mlpackage"):
        raise RunnerFailure("read", f"{path} is a folder; only a .mlpackage may be one")
    entries = []
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            entries.append((os.path.relpath(full, path).replace(os.sep, "/"), *file_sha256(full)))
    entries.sort()
    lines = "".join(f"{sha256}  {relative}\n" for relative, sha256, _ in entries)
    return hashlib.sha256(lines.encode()).hexdigest(), sum(size_bytes for _, _, size_bytes in entries)


def evict(path: str) -> int | None:
    """Take a model out of the page cache, and return how many of its bytes are still there; None where nobody can tell."""
    if not hasattr(os, "posix_fadvise"):
        return None
    folders = os.walk(path) if os.path.isdir(path) else [("", [], [path])]
    cached = [_evict_file(os.path.join(folder, name)) for folder, _, names in folders for name in names]
    return None if None in cached else sum(filter(None, cached))


def _evict_file(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            # Pages that are not yet on the storage would stay, and a file that has just been pushed has many.
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return _cached_bytes(file.fileno(), os.fstat(file.fileno()).st_size)
    except (OSError, AttributeError, ImportError):
        return None


def _cached_bytes(descriptor: int, size_bytes: int) -> int | None:
    """Bytes of a file that are in the page cache, by mincore(2); None where it does not answer."""
    if not size_bytes:
        return 0
    import ctypes  # not every small Python has it

    libc = ctypes.CDLL(None, use_errno=True)
    pages = -(-size_bytes // mmap.PAGESIZE)
    resident = (ctypes.c_ubyte * pages)()
    # Writable, because Python gives no address of a mapping that is not; private, and nothing is written.
    with mmap.mmap(descriptor, size_bytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapping:
        first = ctypes.c_char.from_buffer(mapping)
        answer = libc.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size_bytes), resident)
        del first  # the mapping cannot be closed before
    return None if answer else min(size_bytes, sum(flags & 1 for flags in resident) * mmap.PAGESIZE)


def read_cases(inputs: list[Input]) -> list[list[bytes]]:
    """Bytes of every input for every case: ``cases[k][i]``."""
    per_input: list[list[bytes]] = []
    for index, tensor in enumerate(inputs):
        if tensor.size_bytes == 0:
            raise RunnerFailure("input", f"input {index}, {tensor}, has no usable size")
        try:
            with open(tensor.file, "rb") as file:
                content = file.read()
        except OSError as error:
            raise RunnerFailure("read", f"cannot open {tensor.file}: {error.strerror}") from error
        cases, rest = divmod(len(content), tensor.size_bytes)
        if cases == 0 or rest:
            raise RunnerFailure(
                "input",
                f"{tensor.file} has {len(content)} bytes, not a multiple of {tensor.size_bytes}, as {tensor} takes",
            )
        if per_input and cases != len(per_input[0]):
            raise RunnerFailure("input", f"{tensor.file} holds {cases} cases, the inputs before it {len(per_input[0])}")
        step = tensor.size_bytes
        per_input.append([content[k * step : (k + 1) * step] for k in range(cases)])
    return [list(case) for case in zip(*per_input)] if per_input else [[]]


# ---------------------------------------------------------------------------------------------------- engines


def to_array(tensor: Tensor, content: bytes) -> Any:
    """A writable numpy array of these bytes."""
    import numpy as np

    return np.frombuffer(content, dtype=np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape).astype(tensor.dtype)


def refuse(index: int, given: Tensor, declared: str) -> NoReturn:
    """Say that an input is not what the model wants."""
    raise RunnerFailure("input", f"input {index} is {given}, the model declares {declared}")


def refuse_count(given: int, declared: int) -> NoReturn:
    """Say that the number of inputs is wrong."""
    raise RunnerFailure("input", f"{given} inputs are given, the model takes {declared}")


def refuse_method(wanted: str, there_are: list[str]) -> NoReturn:
    """Say that the model has no such method (``.tflite``: signature; Core ML: function)."""
    raise RunnerFailure("load", f"the model has no method {wanted!r}; it has: {', '.join(there_are) or 'none by name'}")


class FlatTable:
    """A table of a flatbuffer; fields are numbered from 0 as the schema declares them (flatbuffers internals)."""

    def __init__(self, content: Any, at: int) -> None:
        self._content = content
        self._at = at

    def _read(self, layout: str, at: int) -> int:
        if at < 0:
            raise struct.error("an offset before the start")
        return int(struct.unpack_from("<" + layout, self._content, at)[0])

    def _field(self, number: int) -> int:
        vtable = self._at - self._read("i", self._at)
        slot = 4 + 2 * number
        offset = self._read("H", vtable + slot) if slot < self._read("H", vtable) else 0
        return self._at + offset if offset else 0

    def number(self, field: int, layout: str) -> int:
        at = self._field(field)
        return self._read(layout, at) if at else 0

    def table(self, field: int) -> FlatTable:
        at = self._field(field)
        return FlatTable(self._content, at + self._read("I", at))

    def _vector(self, field: int) -> tuple[int, int]:
        at = self._field(field)
        if not at:
            return 0, 0
        at += self._read("I", at)
        return at + 4, self._read("I", at)

    def numbers(self, field: int, layout: str) -> list[int]:
        at, count = self._vector(field)
        step = struct.calcsize("<" + layout)
        return [self._read(layout, at + i * step) for i in range(count)]

    def tables(self, field: int) -> list[FlatTable]:
        at, count = self._vector(field)
        places = [at + 4 * i for i in range(count)]
        return [FlatTable(self._content, place + self._read("I", place)) for place in places]

    def text(self, field: int) -> str:
        return bytes(self.numbers(field, "B")).decode("utf-8", "replace")


def pte_dim_orders(model: str, method: str) -> list[tuple[int, ...]]:
    """Order of the dimensions in memory of every input of a method; empty for what is not a tensor.

    The Python runtime does not tell it, and does not compare it with what it is given: a model exported with
    channels-last images would silently compute something else. Field numbers are those of ExecuTorch's
    schema/program.fbs, which by its own rule only ever grows at the end.
    """
    with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        program = FlatTable(content, struct.unpack_from("<I", content)[0])
        plan = next(plan for plan in program.tables(1) if plan.text(0) == method)
        values = plan.tables(2)
        tensor_type = 5
        return [
            tuple(values[i].table(1).numbers(3, "B")) if values[i].number(0, "B") == tensor_type else ()
            for i in plan.numbers(3, "i")
        ]


def tflite_places(model: str, graph: int, side: str) -> list[int]:
    """Tensors that are a graph's inputs or outputs, in its order. Field numbers are those of TFLite's schema.fbs."""
    with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        graphs = FlatTable(content, struct.unpack_from("<I", content)[0]).tables(2)
        return graphs[graph].numbers(1 if side == "inputs" else 2, "i")


class ExecuTorch:
    """ExecuTorch's Python runtime, which needs torch."""

    name = "executorch"
    # executorch/runtime/core/portable_type/scalar_type.h
    _dtypes = {
        0: "uint8",
        1: "int8",
        2: "int16",
        3: "int32",
        4: "int64",
        5: "float16",
        6: "float32",
        7: "float64",
        11: "bool",
    }

    def prepare(self, threads: int) -> None:
        self._torch = importlib.import_module("torch")  # first: the runtime is linked with its libraries
        find_openvino()
        try:
            # portable_lib only names what is in here, and imports the exporter for a warning: seconds of start-up.
            self._runtime = importlib.import_module("executorch.extension.pybindings._C")
        except ModuleNotFoundError:
            self._runtime = importlib.import_module("executorch.extension.pybindings.portable_lib")
        try:
            importlib.import_module("executorch.kernels.quantized")  # registers its operators, if it is there
        except (ImportError, OSError):
            pass
        self.version = metadata.version("executorch")
        # Before the program is loaded: XNNPACK takes hold of the pool when a delegate is initialised.
        if threads:
            self._runtime._unsafe_reset_threadpool(threads)

    def threads(self) -> int:
        # A delegate that does not use the pool starts threads of its own.
        return int(self._runtime._threadpool_get_thread_count()) + status_field("Threads") - self._threads_before_load

    def check(self, model: str) -> None:
        # The runtime would abort the process on the message it makes of a wrong identifier that is not UTF-8.
        with open(model, "rb") as file:
            if file.read(8)[4:6] != b"ET":
                raise RunnerFailure("load", "not an ExecuTorch program: it has another identifier")

    def load(self, model: str, method: str | None) -> None:
        self._threads_before_load = status_field("Threads")
        # Kept: the method points into the program.
        self._program = self._runtime._load_program(model, program_verification=self._runtime.Verification.InternalConsistency)
        names = [self._program.get_method_name(i) for i in range(self._program.num_methods())]
        self._name = method or (names[0] if len(names) == 1 else "forward")
        if self._name not in names:
            refuse_method(self._name, names)
        self._method = self._program.load_method(self._name)
        self._model = model
        self.invoke = self._method.execute

    def bind(self, inputs: list[Input]) -> None:
        meta = self._method.method_meta()
        if meta.num_inputs() != len(inputs):
            refuse_count(len(inputs), meta.num_inputs())
        for index, given in enumerate(inputs):
            try:
                info = meta.input_tensor_meta(index)
            except RuntimeError as error:
                raise RunnerFailure("input", f"input {index} of the model is not a tensor") from error
            dtype = self._dtypes.get(info.dtype(), f"scalar type {info.dtype()}")
            bounds = tuple(info.sizes())
            # Only upper bounds can be asked for here. A smaller size is left to the runtime: it takes it where the
            # dimension is dynamic, and refuses it where it is not.
            fits = len(bounds) == len(given.shape) and all(g <= b for g, b in zip(given.shape, bounds))
            if dtype != given.dtype or not fits:
                refuse(index, given, "{}[{}]".format(dtype, ",".join(map(str, bounds))))
        self._inputs = inputs
        self._dim_orders = pte_dim_orders(self._model, self._name)

    def _tensor(self, index: int, content: bytes) -> Any:
        tensor = self._torch.from_numpy(to_array(self._inputs[index], content))
        order = self._dim_orders[index]
        if order == tuple(range(tensor.dim())):
            return tensor
        back = [order.index(dim) for dim in range(len(order))]
        return tensor.permute(order).contiguous().permute(back)

    def setter(self, case: list[bytes]) -> Callable[[], None]:
        tensors = [self._tensor(index, part) for index, part in enumerate(case)]
        method = self._method

        def set_inputs() -> None:
            method.set_inputs(tensors)

        return set_inputs

    def outputs(self) -> list[Any]:
        values = self._method.get_outputs()
        for index, value in enumerate(values):
            if not isinstance(value, self._torch.Tensor):
                raise RunnerFailure("output", f"output {index} of the model is not a tensor")
        return [value.contiguous().numpy() for value in values]


def find_openvino() -> None:
    """Tell ExecuTorch's OpenVINO delegate where the installed package has its library, unless the user has."""
    package = importlib.util.find_spec("openvino")
    if package is not None and package.submodule_search_locations:
        libraries = sorted(glob.glob(os.path.join(package.submodule_search_locations[0], "libs", "libopenvino_c.so*")))
        if libraries:
            os.environ.setdefault("OPENVINO_LIB_PATH", libraries[0])


class TfLite:
    """The TFLite interpreter, from whichever package has it."""

    name = "litert"
    _modules = (
        ("ai_edge_litert.interpreter", ("ai-edge-litert",)),
        ("tflite_runtime.interpreter", ("tflite-runtime",)),
        ("tensorflow.lite.python.interpreter", ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64")),
    )

    def prepare(self, threads: int) -> None:
        reasons = []
        for module, distributions in self._modules:
            try:
                self._interpreter_type = importlib.import_module(module).Interpreter
            except ImportError as error:
                reasons.append(str(error))
                continue
            self.version = "{} {}".format(*next(iter(_installed(distributions).items()), (module, "of unknown version")))
            self._requested_threads = threads
            return
        raise ImportError("; ".join(reasons))

    def check(self, model: str) -> None:
        """Nothing: the interpreter checks the file itself."""

    def threads(self) -> int:
        """Threads that compute: a pool of N has N - 1 new ones and the caller. The interpreter cannot be asked."""
        if not self._threads_before_load:
            return self._requested_threads
        return status_field("Threads") - self._threads_before_load + 1

    def load(self, model: str, method: str | None) -> None:
        self._threads_before_load = status_field("Threads")
        self._interpreter = self._interpreter_type(model_path=model, num_threads=self._requested_threads or None)
        self._interpreter.allocate_tensors()  # also hands every graph to the delegates
        self._signature = self._choose(method)
        # A signature may be about another graph than the first, and the interpreter's own calls are about the first
        # only. The signature's runner would size, allocate and copy in every call: that is not what is to be timed.
        self._graph = 0 if self._signature is None else int(self._signature._subgraph_index)
        self._calls = self._interpreter._interpreter
        if self._graph:
            self._calls.AllocateTensors(self._graph)
        self._model = model
        self.invoke = functools.partial(self._calls.Invoke, self._graph)

    def _choose(self, method: str | None) -> Any:
        """Return the runner of the signature; None for a model that has none, of which nothing was wished."""
        names = list(self._interpreter.get_signature_list())
        if method is None:
            if not names:
                return None
            method = "serving_default" if "serving_default" in names else names[0]
        if method not in names:
            refuse_method(method, names)
        return self._interpreter.get_signature_runner(method)

    def _ordered(self, side: str) -> list[Any]:
        """Inputs or outputs in the order of the graph; the signature has them by name."""
        if self._signature is None:
            interpreter = self._interpreter
            return list(interpreter.get_input_details() if side == "inputs" else interpreter.get_output_details())
        by_name = self._signature.get_input_details() if side == "inputs" else self._signature.get_output_details()
        places = tflite_places(self._model, self._graph, side)
        return sorted(by_name.values(), key=lambda detail: places.index(detail["index"]))

    def bind(self, inputs: list[Input]) -> None:
        import numpy as np

        details = self._ordered("inputs")
        if len(details) != len(inputs):
            refuse_count(len(inputs), len(details))
        dynamic = False
        for index, (given, detail) in enumerate(zip(inputs, details)):
            declared = tuple(int(dim) for dim in detail.get("shape_signature", detail["shape"]))
            if not declared and len(detail["shape"]):
                declared = tuple(int(dim) for dim in detail["shape"])
            dtype = np.dtype(detail["dtype"]).name
            fits = len(declared) == len(given.shape) and all(d in (-1, g) for d, g in zip(declared, given.shape))
            if dtype != given.dtype or not fits:
                refuse(index, given, "{}[{}]".format(dtype, ",".join(map(str, declared))))
            if -1 in declared:
                dynamic = True
                self._calls.ResizeInputTensor(detail["index"], np.array(given.shape, np.int32), False, self._graph)
        if dynamic:
            self._calls.AllocateTensors(self._graph)
        self._inputs = inputs
        self._places = [detail["index"] for detail in details]
        self._output_places = [detail["index"] for detail in self._ordered("outputs")]

    def setter(self, case: list[bytes]) -> Callable[[], None]:
        set_tensor, graph = self._calls.SetTensor, self._graph
        pairs = [(place, to_array(spec, part)) for place, spec, part in zip(self._places, self._inputs, case)]

        def set_inputs() -> None:
            for place, value in pairs:
                set_tensor(place, value, graph)

        return set_inputs

    def outputs(self) -> list[Any]:
        return [self._calls.GetTensor(place, self._graph) for place in self._output_places]


class CoreMl:
    """Core ML through coremltools on macOS. Never run by the project: written for users who have a Mac.

    The time of an invocation includes the conversion of inputs and outputs that ``predict`` does. Core ML chooses its
    threads itself, so 0 is reported.
    """

    name = "coreml"
    # FeatureTypes.proto of the Core ML model format: ArrayFeatureType.ArrayDataType
    _dtypes = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32"}
    _units = {"all": "ALL", "cpu-only": "CPU_ONLY", "cpu-and-gpu": "CPU_AND_GPU", "cpu-and-ne": "CPU_AND_NE"}

    def prepare(self, threads: int) -> None:
        if platform.system() != "Darwin":
            raise RunnerFailure("load", f"Core ML models run on macOS only, this is {platform.system()}")
        if threads > 1:
            raise RunnerFailure("usage", "Core ML chooses its threads itself: --threads has to be 0 or 1")
        self._coremltools = importlib.import_module("coremltools")
        self.version = metadata.version("coremltools") + " on macOS " + platform.mac_ver()[0]

    def threads(self) -> int:
        return 0

    def check(self, model: str) -> None:
        """Nothing: Core ML checks the package itself."""

    def load(self, model: str, method: str | None) -> None:
        open_package = self._coremltools.models.MLModel
        description = open_package(model, skip_model_load=True).get_spec().description
        # The exporter writes down which compute units the target allows.
        units = self._units[dict(description.metadata.userDefined).get("edgedeploy.compute_units", "all")]
        options: dict[str, Any] = {"compute_units": self._coremltools.ComputeUnit[units]}
        if method is not None:
            names = [function.name for function in description.functions] or ["main"]
            if method not in names:
                refuse_method(method, names)
            if description.functions:
                options["function_name"] = method
        self._model = open_package(model, **options)
        # A package with one function has its inputs in the description itself.
        functions = {function.name: function for function in getattr(description, "functions", ())}
        self._description = functions.get(method or getattr(description, "defaultFunctionName", ""), description)

    def bind(self, inputs: list[Input]) -> None:
        description = self._description
        if len(description.input) != len(inputs):
            refuse_count(len(inputs), len(description.input))
        for index, (given, declared) in enumerate(zip(inputs, description.input)):
            array_type = declared.type.multiArrayType
            dtype = self._dtypes.get(array_type.dataType, f"data type {array_type.dataType}")
            shape = tuple(int(dim) for dim in array_type.shape)
            flexible = bool(array_type.WhichOneof("ShapeFlexibility"))
            if dtype != given.dtype or (not flexible and shape != given.shape):
                refuse(index, given, "{}[{}]".format(dtype, ",".join(map(str, shape))))
        self._inputs = inputs
        self._input_names = [feature.name for feature in description.input]
        self._output_names = [feature.name for feature in description.output]
        # A model with state begins as zeros, and keeps it from one case to the next, as PyTorch's buffers do.
        self._state = {"state": self._model.make_state()} if description.state else {}

    def setter(self, case: list[bytes]) -> Callable[[], None]:
        features = {name: to_array(spec, part) for name, spec, part in zip(self._input_names, self._inputs, case)}

        def set_inputs() -> None:
            self._features = features

        return set_inputs

    def invoke(self) -> None:
        self._predictions = self._model.predict(self._features, **self._state)

    def outputs(self) -> list[Any]:
        import numpy as np

        return [np.asarray(self._predictions[name]) for name in self._output_names]


ENGINES: dict[str, type] = {".pte": ExecuTorch, ".tflite": TfLite, ".mlpackage": CoreMl}


def choose_engine(model: str) -> Any:
    """Return the engine for a model, by what its name ends in."""
    suffix = os.path.splitext(model.rstrip("/"))[1].lower()
    if suffix not in ENGINES:
        raise RunnerFailure("load", f"no engine for {model}: it ends in none of {', '.join(ENGINES)}")
    return ENGINES[suffix]()


# ---------------------------------------------------------------------------------------------------- the session


class Session:
    """The protocol, step by step; ``stage`` says where it is, for failures that engines raise on their own."""

    def __init__(self) -> None:
        self.stage = "usage"

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        """Do everything and return the document."""
        if arguments.cpus is not None:
            pin_to_cpus(arguments.cpus)
        self.stage = "turn"
        if arguments.turns and arguments.turns[0] != arguments.side:
            await_baton()
        if arguments.profile:
            # TFLite and Core ML have no such call in Python. ExecuTorch's writes an ETDump, which only its developer tools
            # can read, and they are hundreds of megabytes that a device need not have.
            raise RunnerFailure("load", "this runner cannot tell the time per operator: a native runner can")
        self.stage = "read"
        try:
            sha256, size_bytes = model_sha256(arguments.model)
        except OSError as error:
            raise RunnerFailure("read", f"cannot open {arguments.model}: {error.strerror}") from error
        self.stage = "input"
        cases = read_cases(arguments.inputs)
        self.stage = "load"
        engine = self._prepare(arguments)
        cached_bytes = evict(arguments.model) if arguments.cold else None
        rss_before_load_bytes = resident_bytes()
        began_ns = time.monotonic_ns()
        engine.load(arguments.model, arguments.method)
        load_ns = time.monotonic_ns() - began_ns
        self.stage = "input"
        engine.bind(arguments.inputs)
        first_inference_ns, outputs = self._run_cases(engine, cases, arguments.output_dir)
        measured = self._measure(engine, cases if arguments.vary else cases[:1], arguments)
        return {
            **measured,
            "schema": SCHEMA,
            "runner": {"name": NAME, "version": VERSION, "engine": engine.name, "engine_version": engine.version},
            "model": {"sha256": sha256, "size_bytes": size_bytes},
            "threads": engine.threads(),
            "cpus": cpus_in_force(),
            "clock": {
                "name": "CLOCK_MONOTONIC" if sys.platform == "linux" else "time.monotonic",
                "resolution_ns": max(1, round(time.get_clock_info("monotonic").resolution * 1e9)),
            },
            "load_ns": load_ns,
            "first_inference_ns": first_inference_ns,
            **({} if cached_bytes is None else {"cached_bytes_before_load": cached_bytes}),
            "rss_before_load_bytes": rss_before_load_bytes,
            "peak_rss_bytes": peak_resident_bytes(),
            "cases": len(cases),
            "outputs": outputs,
        }

    def _prepare(self, arguments: argparse.Namespace) -> Any:
        engine = choose_engine(arguments.model)
        engine.check(arguments.model)
        try:
            importlib.import_module("numpy")
            engine.prepare(arguments.threads)
        except (ImportError, OSError) as error:
            python = platform.python_version()
            raise RunnerFailure("load", f"Python {python} here has no engine for this model: {error}") from error
        return engine

    def _run_cases(self, engine: Any, cases: list[list[bytes]], output_dir: str) -> tuple[int, list[dict[str, Any]]]:
        first_inference_ns = 0
        described: list[dict[str, Any]] = []
        digests: list[Any] = []
        for which, case in enumerate(cases):
            self.stage = "input"
            engine.setter(case)()
            self.stage = "execute"
            began_ns = time.monotonic_ns()
            engine.invoke()
            ended_ns = time.monotonic_ns()
            if which == 0:
                first_inference_ns = ended_ns - began_ns
            self.stage = "output"
            values = engine.outputs()
            now = [describe_output(index, value) for index, value in enumerate(values)]
            if which == 0:
                described = now
                digests = [hashlib.sha256() for _ in now]
            elif now != described:
                raise RunnerFailure("output", f"outputs are {described} for case 0 and {now} for case {which}")
            for value, output, digest in zip(values, described, digests):
                content = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False).tobytes()
                append_output(os.path.join(output_dir, output["file"]), content, first=which == 0)
                digest.update(content)
        return first_inference_ns, [dict(output, sha256=digest.hexdigest()) for output, digest in zip(described, digests)]

    def _measure(self, engine: Any, cases: list[list[bytes]], arguments: argparse.Namespace) -> dict[str, Any]:
        """Warm up and time; the timed iterations take one of ``cases`` after the other."""
        self.stage = "input"
        loop = TimedLoop([engine.setter(case) for case in cases], engine.invoke)
        self.stage = "execute"
        gc.collect()
        gc.disable()
        found = self._warm_up(loop, arguments)
        if arguments.barrier:
            self.stage = "turn"
            pass_baton()
            if not os.read(0, 1):
                raise RunnerFailure("turn", "another process ended before all were ready")
            self.stage = "execute"
        if arguments.turns:
            found.update(self._take_turns(loop, arguments))
        elif arguments.bursts:
            found.update(take_bursts(loop, arguments))
        elif arguments.window_seconds:
            found.update(take_windows(loop, arguments))
        else:
            latency_ns = array.array("q")
            usage = Usage()
            with usage.watched():
                loop.run(latency_ns, arguments.iterations, arguments.min_seconds * 1e9, arguments.max_seconds * 1e9)
            found["latency_ns"] = list(latency_ns)
            found.update(usage.members() if latency_ns else {})
        gc.enable()
        pss_bytes = proportional_bytes()
        return found if pss_bytes is None else dict(found, pss_bytes=pss_bytes)

    def _warm_up(self, loop: TimedLoop, arguments: argparse.Namespace) -> dict[str, Any]:
        """As many iterations as were asked for; then until the process is steady, or the time for that is over."""
        if not arguments.iterations:
            return {"warmup_ns": []}
        warmup_ns = array.array("q")
        began_ns = time.monotonic_ns()
        loop.run(warmup_ns, arguments.warmup, 0, math.inf)
        if not arguments.warmup_seconds:
            return {"warmup_ns": list(warmup_ns)}
        watch = SteadyWatch()
        for ns in warmup_ns:
            watch.take(ns)
        until_ns = began_ns + arguments.warmup_seconds * 1e9
        while watch.steady is None and time.monotonic_ns() < until_ns and len(warmup_ns) < MAX_ITERATIONS:
            loop.run(warmup_ns, 1, 0, math.inf)
            watch.take(warmup_ns[-1])
        told = warmup_ns[: max(arguments.warmup, WARMUPS_TOLD)]
        return {"warmup_ns": list(told), "warmup_iterations": len(warmup_ns), "steady": watch.steady}

    def _take_turns(self, loop: TimedLoop, arguments: argparse.Namespace) -> dict[str, Any]:
        schedule, side, turn_ns = arguments.turns, arguments.side, arguments.turn_seconds * 1e9
        latency_ns = array.array("q")
        taken = []
        usage = Usage()
        self.stage = "turn"
        pass_baton()
        for i, turn in enumerate(schedule):
            if turn != side:
                continue
            if i == 0 or schedule[i - 1] != side:
                await_baton()
            self.stage = "execute"
            # Not counted: the other side's data is in the caches, and its threads may still be looking for work.
            loop.run(array.array("q"), arguments.iterations, 0, turn_ns * UNTIMED_SHARE)
            began_ns, before = time.monotonic_ns(), len(latency_ns)
            with usage.watched():
                loop.run(latency_ns, arguments.iterations, 0, turn_ns)
            taken.append({"began_ns": began_ns, "iterations": len(latency_ns) - before})
            self.stage = "turn"
            if schedule[i + 1 : i + 2] not in ("", side):
                pass_baton()
        if schedule[-1] != side:
            # Not gone before the other one is done: the end of a process costs time on its processor, too.
            os.read(0, 1)
        return {"turns": taken, "latency_ns": list(latency_ns), **usage.members()}


def take_bursts(loop: TimedLoop, arguments: argparse.Namespace) -> dict[str, Any]:
    """Iterations in bursts, with a rest before each."""
    latency_ns = array.array("q")
    taken: list[dict[str, int]] = []
    usage = Usage()
    spent_ns = 0
    while len(taken) < arguments.bursts and (not taken or spent_ns < arguments.max_seconds * 1e9):
        time.sleep(arguments.idle_seconds)
        began_ns = time.monotonic_ns()
        with usage.watched():
            loop.run(latency_ns, arguments.iterations, 0, math.inf)
        taken.append({"began_ns": began_ns, "iterations": arguments.iterations})
        spent_ns += time.monotonic_ns() - began_ns
    return {"bursts": taken, "latency_ns": list(latency_ns), **usage.members()}


def take_windows(loop: TimedLoop, arguments: argparse.Namespace) -> dict[str, Any]:
    """Iterations for so long, told by windows: of each how many there were, and the latencies of some of them."""
    all_ns, window_ns = arguments.max_seconds * 1e9, arguments.window_seconds * 1e9
    windows: list[KeptEvenly] = []
    usage = Usage()
    slept_ns = suspended_ns()
    last = array.array("q")
    number, next_ns = 0, 0.0
    with usage.watched():
        loop_began_ns = ended_ns = time.monotonic_ns()
        while not windows or ended_ns - loop_began_ns < all_ns:
            began_ns = loop.once(last, number)
            number += 1
            ended_ns = began_ns + last[-1]
            at_ns = began_ns - loop_began_ns
            if at_ns >= next_ns:
                windows.append(KeptEvenly(began_ns))
                next_ns = (at_ns // window_ns + 1) * window_ns
            windows[-1].take(last.pop())
    latency_ns = [ns for window in windows for ns in window.kept_ns]
    described = [
        {"began_ns": window.began_ns, "iterations": window.iterations, "kept": len(window.kept_ns)} for window in windows
    ]
    slept = {} if slept_ns is None else {"suspended_ns": slept_ns}
    times = {"timed_ns": ended_ns - loop_began_ns, "latency_ns": latency_ns}
    return {"windows": described, **times, **slept, **usage.members()}


class KeptEvenly:
    """A window's latencies: every ``stride``-th. When they become too many, every other one is given up."""

    def __init__(self, began_ns: int) -> None:
        self.began_ns = began_ns
        self.iterations = 0
        self.kept_ns = array.array("q")
        self._stride = 1

    def take(self, ns: int) -> None:
        number = self.iterations
        self.iterations += 1
        if number % self._stride:
            return
        if len(self.kept_ns) == WINDOW_KEPT:
            self.kept_ns = self.kept_ns[::2]
            self._stride *= 2
            if number % self._stride:
                return
        self.kept_ns.append(ns)


def suspended_ns() -> int | None:
    """How long the system has slept since it started, which /proc/uptime counts; None where it does not say."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns())


class SteadyWatch:
    """Is the process warm? The rule of edgedeploy/stats/steady.py, latency by latency; a test compares the two.

    ``steady`` is the document's member.
    """

    WINDOW_ITERATIONS = 8
    WINDOW_NS = 100_000_000
    WINDOWS = 3
    TOLERANCE = 0.01

    def __init__(self) -> None:
        self.steady: dict[str, int] | None = None
        self._seen = 0
        self._window: list[int] = []
        self._spent_ns = 0
        self._closed: list[tuple[int, int, int, int]] = []

    def take(self, ns: int) -> None:
        """Take the next latency; nothing happens once the process is steady."""
        if self.steady is not None:
            return
        self._seen += 1
        self._spent_ns += ns
        self._window.append(ns)
        if len(self._window) < self.WINDOW_ITERATIONS or self._spent_ns < self.WINDOW_NS:
            return
        window = sorted(self._window)
        quarter = (len(window) - 1) // 4
        self._closed.append((self._seen - len(window), window[quarter], window[len(window) // 2], window[-1 - quarter]))
        self._window, self._spent_ns = [], 0
        firsts, lows, medians, highs = zip(*self._closed[-self.WINDOWS :])
        within_noise = max(lows) <= min(medians) and max(medians) <= min(highs)
        within_tolerance = max(medians) <= (1 + self.TOLERANCE) * min(medians)
        if len(firsts) == self.WINDOWS and (within_noise or within_tolerance):
            self.steady = {"since": firsts[0], "known": self._seen}


def await_baton() -> None:
    """Wait until the other side lets this one run."""
    if not os.read(0, 1):
        raise RunnerFailure("turn", "the other side ended before its last turn")


def pass_baton() -> None:
    """Let the other side run."""
    try:
        os.write(BATON_OUT, b".")
    except BrokenPipeError as error:
        raise RunnerFailure("turn", "the other side ended before its last turn") from error


class TimedLoop:
    """Times ``invoke``, with one case after the other put in place by ``setters``."""

    def __init__(self, setters: list[Callable[[], None]], invoke: Callable[[], object]) -> None:
        self._setters = setters
        self._invoke = invoke

    def once(self, samples_ns: array.array[int], number: int = 0) -> int:
        """Append one time, of the case ``number``; returns when it began."""
        now, invoke = time.monotonic_ns, self._invoke
        self._setters[number % len(self._setters)]()
        began_ns = now()
        invoke()
        ended_ns = now()
        samples_ns.append(ended_ns - began_ns)
        return began_ns

    def run(self, samples_ns: array.array[int], iterations: int, least_ns: float, most_ns: float) -> None:
        """Append ``iterations`` times, and more until ``least_ns`` are over; only what fits in ``most_ns``, but at least one."""
        now, invoke, setters = time.monotonic_ns, self._invoke, self._setters
        done = spent_ns = 0
        loop_began_ns = now()
        while iterations and (done < iterations or spent_ns < least_ns) and done < MAX_ITERATIONS:
            # Before every iteration: an engine may plan other tensors into the memory of an input it is done with.
            setters[len(samples_ns) % len(setters)]()
            began_ns = now()
            invoke()
            ended_ns = now()
            samples_ns.append(ended_ns - began_ns)
            done += 1
            spent_ns = ended_ns - loop_began_ns
            if spent_ns >= most_ns:
                break


def describe_output(index: int, value: Any) -> dict[str, Any]:
    """Return an output's entry in the document."""
    dtype = value.dtype.name
    if dtype not in ELEMENT_SIZE_BYTES:
        raise RunnerFailure("output", f"output {index} has the element type {dtype}, which the protocol does not have")
    return {"dtype": dtype, "shape": [int(dim) for dim in value.shape], "file": f"output_{index}.bin"}


def append_output(path: str, content: bytes, *, first: bool) -> None:
    """Write one case of one output."""
    try:
        with open(path, "wb" if first else "ab") as file:
            file.write(content)
    except OSError as error:
        raise RunnerFailure("output", f"cannot write {path}: {error.strerror}") from error


# ---------------------------------------------------------------------------------------------------- entry


def _installed(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def version_document() -> dict[str, Any]:
    """Which Python this is and which engines it could import, without importing them."""
    return {
        "schema": SCHEMA,
        "runner": {"name": NAME, "version": VERSION},
        "python": {
            "version": platform.python_version(),
            "implementation": sys.implementation.name,
            "machine": platform.machine(),
        },
        "packages": _installed(PACKAGES),
    }


def answer(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Return the document for a command line, and the exit code."""
    if argv == ["--version"]:
        return version_document(), 0
    session = Session()
    try:
        return session.run(parse_arguments(argv)), 0
    except RunnerFailure as failure:
        stage, message = failure.stage, str(failure)
    except Exception as error:  # engines raise what they like, and all of it is the host's to know
        stage, message = session.stage, f"{type(error).__name__}: {error}"
    code = EXIT_WRONG_ARGUMENTS if stage == "usage" else EXIT_FAILED
    return {"schema": SCHEMA, "error": {"stage": stage, "message": message[:1000]}}, code


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, however many calls it takes."""
    while content:
        content = content[os.write(descriptor, content) :]


def main() -> NoReturn:
    """Keep stdout for the document, answer, and leave without running the engines' own clean-up."""
    document_descriptor = os.dup(1)
    os.dup2(2, 1)  # engines print where they please, and below Python's level
    sys.stdout = sys.stderr
    document, code = answer(sys.argv[1:])
    write_all(document_descriptor, (json.dumps(document) + "\n").encode("ascii", "replace"))
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
