"""Chooses the runtime that runs an artifact on a device: the target's first that can be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.decoding import decode
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.events import Note, Sink
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, Lane, Os, Target
from edgedeploy.errors import MissingToolError, UsageError
from edgedeploy.ports import Connection, Emit, Runtime

_PYTHON_FACTS = """
import importlib.metadata as m, json, sys
wanted = ("executorch", "ai-edge-litert", "tflite-runtime", "tensorflow", "coremltools", "openvino", "numpy")
found = {"python": "%d.%d.%d" % sys.version_info[:3]}
for name in wanted:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps(found))
"""


def choose(
    artifact: Artifact,
    runtimes: Sequence[str],
    *,
    abi: Abi,
    os: Os,
    python_facts: Callable[[], Mapping[str, str]],
    cache_dir: Path,
    emit: Emit,
    sink: Sink,
) -> RunnerBundle:
    """The first of ``runtimes`` that runs this artifact there; what was passed over, and why, is told to ``sink``.

    Raises:
        MissingToolError: none can; with the reason for each.
    """
    reasons = []
    for name in runtimes:
        runtime = registry.runtime(name)
        if artifact.format not in runtime.formats:
            continue
        if not runtime.runs_on(abi, os):
            reasons.append(f"{name}: not for {abi}")
            continue
        if lacking := runtime.requirement(abi, python_facts() if runtime.uses_python else {}, artifact):
            reasons.append(f"{name}: {lacking}")
            continue
        try:
            bundle = _bundle(runtime, abi, cache_dir, emit)
        except MissingToolError as error:
            reasons.append(f"{name}: {error.what}" + (f"; {error.next_step}" if error.next_step else ""))
            continue
        if reasons:
            sink(Note(text=f"running by {name}, because " + "; ".join(reasons), level="warning"))
        return bundle
    raise MissingToolError(
        f"nothing can run .{artifact.format} on {abi}",
        seen="; ".join(reasons) or f"the target lists {', '.join(runtimes) or 'no runtime'}",
        next_step="install what is missing, or name another runtime in the target file",
    )


def runtimes_for(lane: Lane, target: Target) -> tuple[str, ...]:
    """Those of the target's runtimes that run the format of a lane's exporter."""
    wanted = registry.exporter(lane.exporter).format
    return tuple(name for name in target.runtimes if wanted in registry.runtime(name).formats)


def portable_runner(
    artifact: Artifact, runtimes: Sequence[str], *, abi: Abi, os: Os, cache_dir: Path, emit: Emit
) -> RunnerBundle | None:
    """A runner that needs nothing on the device, to travel along in a bundle; None when none can be built here."""
    for name in runtimes:
        runtime = registry.runtime(name)
        if artifact.format not in runtime.formats or not runtime.runs_on(abi, os) or runtime.uses_python:
            continue
        if not runtime.requirement(abi, {}, artifact):
            with suppress(MissingToolError):
                return _bundle(runtime, abi, cache_dir, emit)
    return None


def _bundle(runtime: Runtime, abi: Abi, cache_dir: Path, emit: Emit) -> RunnerBundle:
    try:
        return runtime.bundle(abi, cache_dir=cache_dir, emit=emit)
    except OSError as error:
        raise UsageError(
            f"the files of {runtime.name} cannot be made ready",
            where=str(cache_dir),
            seen=str(error),
            next_step="free some space, or set XDG_CACHE_HOME to a folder you may write",
        ) from error


def python_facts_of(connection: Connection, python: str) -> Mapping[str, str]:
    """Versions of the engines a device's Python has; empty when there is no Python 3.8 or newer."""
    done = connection.run([python, "-c", _PYTHON_FACTS], timeout_s=30.0)
    if done.exit_code != 0:
        return {}
    try:
        return decode(done.stdout, dict[str, str])
    except msgspec.DecodeError:
        return {}
