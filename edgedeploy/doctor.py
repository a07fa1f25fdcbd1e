"""What is installed here, what each thing is needed for, and how to get what is missing. No SDK is imported."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from edgedeploy import __version__, registry
from edgedeploy.cache import Cache
from edgedeploy.config.targets import read_target
from edgedeploy.domain.target import Lane
from edgedeploy.errors import EdgedeployError, MissingToolError
from edgedeploy.places import state_folder
from edgedeploy.ports import Lacking
from edgedeploy.runners.abi import Engine, host_abi
from edgedeploy.runners.android import find_android_sdk, why_no_ndk
from edgedeploy.runners.build_tools import find_cmake, find_toolchain, run_tool
from edgedeploy.shipped import shipped
from edgedeploy.transports.adb_client import find_adb

DOCTOR_SCHEMA = "edgedeploy.doctor/1"
MISSING_EXIT_CODE = MissingToolError.exit_code

ESSENTIAL = ("python", "cache folder", "state folder")
"""Checks without which no lane runs."""

State = Literal["ok", "other version", "missing"]

_PYTHON_MIN = (3, 11)
_VERSION_TIMEOUT_S = 10
# For example: torchao==0.18.0; extra == 'tflite'
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([<>=!~][^;]*)?(?:;.*extra\s*==\s*['\"]([^'\"]+)['\"])?")


class Found(NamedTuple):
    """What a probe found: a version, a path, or both; ``other`` names the version that was expected instead."""

    text: str
    other: str = ""


class Need(NamedTuple):
    """Something that may be installed. ``probe`` raises MissingToolError when it is not; ``install`` is a command."""

    name: str
    needed_for: str
    probe: Callable[[], Found]
    install: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A need and what was found. ``install`` is empty when there is nothing to do."""

    name: str
    needed_for: str
    state: State
    found: str
    install: str


class LaneCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a lane can be exported, and whether its file can run on this very machine.

    ``missing`` names checks, or a vendor's SDK that just this lane needs; ``install`` is the way to them.
    """

    lane: str
    runs_here: bool
    missing: tuple[str, ...]
    install: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All checks. ``ready``: at least one lane can be exported and run on this machine."""

    schema: str = DOCTOR_SCHEMA
    edgedeploy: str = __version__
    ready: bool
    checks: tuple[Check, ...]
    lanes: tuple[LaneCheck, ...]

    @property
    def exit_code(self) -> int:
        """0 when ready, 3 when not."""
        return 0 if self.ready else MISSING_EXIT_CODE

    @property
    def nearest(self) -> LaneCheck | None:
        """The lane that would run here with the fewest things installed."""
        return min((lane for lane in self.lanes if lane.runs_here), key=lambda lane: len(lane.missing), default=None)


class LaneNeeds(NamedTuple):
    """What a lane's exporter declares."""

    lane: Lane
    packages: tuple[str, ...]
    install: str
    runs_here: bool
    lacking: Lacking | None = None


def diagnose() -> Diagnosis:
    """Look at this machine. Starts a few programs to ask for their version; about a second."""
    lanes, broken = _declared_lanes()
    packages = dict.fromkeys(package for lane in lanes for package in lane.packages)
    needs = [*_basics(), *(_package(name, lanes) for name in packages), *_tools()]
    return examine(needs, lanes, extra_checks=broken)


def examine(needs: Iterable[Need], lanes: Sequence[LaneNeeds], *, extra_checks: Sequence[Check] = ()) -> Diagnosis:
    """Probe every need and conclude for every lane. A lane needs its packages and what is ESSENTIAL."""
    checks = (*(_check(need) for need in needs), *extra_checks)
    missing = {check.name for check in checks if check.state == "missing"}
    essential = tuple(name for name in ESSENTIAL if name in missing)
    found = tuple(_lane_check(lane, (*essential, *(name for name in lane.packages if name in missing))) for lane in lanes)
    return Diagnosis(ready=any(lane.runs_here and not lane.missing for lane in found), checks=checks, lanes=found)


def _lane_check(lane: LaneNeeds, missing: tuple[str, ...]) -> LaneCheck:
    sdk = (lane.lacking.what,) if lane.lacking else ()
    install = lane.install if missing else lane.lacking.how if lane.lacking else ""
    return LaneCheck(lane=lane.lane.id, runs_here=lane.runs_here, missing=(*missing, *sdk), install=install)


def _check(need: Need) -> Check:
    try:
        found = need.probe()
    except MissingToolError as error:
        seen = error.what if not error.seen else f"{error.what} ({error.seen})"
        install = need.install or error.next_step
        return Check(name=need.name, needed_for=need.needed_for, state="missing", found=seen, install=install)
    state: State = "other version" if found.other else "ok"
    text = f"{found.text}, tested with {found.other}" if found.other else found.text
    install = need.install if found.other else ""
    return Check(name=need.name, needed_for=need.needed_for, state=state, found=text, install=install)


def _declared_lanes() -> tuple[list[LaneNeeds], list[Check]]:
    """Every exporter's lanes, and a failed check for each exporter that cannot be loaded."""
    here = {(offer.exporter, offer.backend) for offer in read_target(shipped("targets") / "this-machine.toml").lanes}
    lanes, broken = [], []
    for name in registry.names("exporters"):
        try:
            exporter = registry.exporter(name)
        except EdgedeployError as error:
            broken.append(
                Check(
                    name=f"exporter {name}",
                    needed_for=f"{name} exports",
                    state="missing",
                    found=f"{error.what} ({error.seen})",
                    install=error.next_step,
                )
            )
            continue
        install = f"pip install 'edgedeploy[{exporter.extra}]'"
        lanes += [
            LaneNeeds(
                lane=lane,
                packages=exporter.toolchain(),
                install=install,
                runs_here=(lane.exporter, lane.backend) in here,
                lacking=exporter.lacking(lane),
            )
            for lane in exporter.lanes()
        ]
    return lanes, broken


def _basics() -> Iterator[Need]:
    yield Need("python", "everything", _python, "install Python 3.11 or newer")
    yield Need("edgedeploy", "everything", lambda: Found(f"{__version__} in {Path(__file__).parent}"))
    yield Need("cache folder", "exports and runners", lambda: _writable(Cache().root))
    yield Need("state folder", "history", lambda: _writable(state_folder()))


def _package(name: str, lanes: Sequence[LaneNeeds]) -> Need:
    using = [lane for lane in lanes if name in lane.packages]
    exporters = dict.fromkeys(lane.lane.exporter for lane in using)
    return Need(name, f"{', '.join(exporters)} exports", lambda: _installed(name, wanted_versions()), using[0].install)


def _tools() -> Iterator[Need]:
    native = "pip install 'edgedeploy[native]'"
    yield Need("adb", "Android phones", _adb)
    yield Need("ssh", "copying a key to a board", lambda: _program("ssh"), "sudo apt install openssh-client")
    yield Need(
        "ssh-keyscan",
        "trusting a new board's host key",
        lambda: _program("ssh-keyscan"),
        "sudo apt install openssh-client",
    )
    abi = host_abi()
    if abi is not None:
        yield Need("g++", "native runner for this machine", lambda: Found(find_toolchain(abi).identity))
    yield Need("aarch64-linux-gnu-g++", "native runner for boards and phones", _arm_compiler)
    yield Need("cmake", "native runners", _cmake, native)
    yield Need("ninja", "native runners, faster than make", lambda: _program("ninja", "--version"), native)
    yield Need(
        "Android NDK",
        "native runner that is a real Android program (without it: a glibc one, CPU only)",
        _ndk,
        "unpack one from https://developer.android.com/ndk/downloads and set ANDROID_NDK_HOME; set "
        "EDGEDEPLOY_ANDROID_EXECUTORCH or EDGEDEPLOY_ANDROID_LITERT to the unpacked engine",
    )


def _python() -> Found:
    version = platform.python_version()
    if sys.version_info < _PYTHON_MIN:
        raise MissingToolError("Python is too old", seen=version)
    return Found(f"{version} at {sys.executable}")


def wanted_versions() -> Mapping[str, str]:
    """Distribution name to version specifier, from edgedeploy's own metadata; empty when it was never installed."""
    try:
        lines = metadata.requires("edgedeploy") or []
    except metadata.PackageNotFoundError:
        return {}
    parsed = (_REQUIREMENT.match(line) for line in lines)
    return {found[1].lower(): (found[2] or "").strip() for found in parsed if found}


def _installed(name: str, wanted: Mapping[str, str]) -> Found:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        raise MissingToolError("not installed") from None
    specifier = wanted.get(name.lower(), "")
    pinned = specifier.removeprefix("==") if specifier.startswith("==") else ""
    # "2.13.0+cpu" is a build of 2.13.0.
    return Found(version, other=pinned if pinned and version.partition("+")[0] != pinned else "")


def _program(name: str, *version_arguments: str) -> Found:
    path = _beside_python(name) or shutil.which(name)
    if path is None:
        raise MissingToolError("not installed")
    return Found(_versioned(path, *version_arguments) if version_arguments else path)


def _beside_python(name: str) -> str | None:
    # A virtual environment that is not activated is not on PATH.
    return shutil.which(name, path=str(Path(sys.executable).parent))


def _versioned(path: str, *version_arguments: str) -> str:
    said = run_tool([path, *version_arguments], what=f"asking {path} for its version", timeout_s=_VERSION_TIMEOUT_S)
    lines = [line for line in said.splitlines() if line.strip()]
    return f"{lines[0].strip()} at {path}" if lines else path


def _adb() -> Found:
    path = str(find_adb())
    said = run_tool([path, "version"], what=f"asking {path} for its version", timeout_s=_VERSION_TIMEOUT_S)
    release = re.search(r"^Version (\S+)", said, re.MULTILINE)
    return Found(f"{release[1] if release else 'unknown version'} at {path}")


def _arm_compiler() -> Found:
    return Found(find_toolchain("linux-aarch64").identity)


def _cmake() -> Found:
    return Found(_versioned(find_cmake().program, "--version"))


def _ndk() -> Found:
    engines = [engine for engine in get_args(Engine) if not why_no_ndk(engine)]
    if not engines:
        raise MissingToolError(f"{why_no_ndk('executorch')} not set")
    return Found(f"{find_android_sdk(engines[0]).ndk} for {', '.join(engines)}")


def _writable(folder: Path) -> Found:
    """Whether the folder is writable, or can be made; nothing stays."""
    nearest = folder
    try:
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        # Permissions do not tell: /proc and a read-only disk are writable for root, and nothing can be made there.
        with tempfile.TemporaryDirectory(prefix=".edgedeploy-", dir=nearest):
            pass
    except OSError as error:
        seen = f"{nearest}: {error.strerror}"
        raise MissingToolError("not writable", seen=seen, next_step=f"make {nearest} writable") from None
    free = shutil.disk_usage(nearest).free
    return Found(f"{folder}, {free / 1e9:.1f} GB free")
