"""Starts a runner on a device once, and brings back its document and outputs. Verify and measure both stand on this."""

from __future__ import annotations

import hashlib
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgedeploy.agreement import compare
from edgedeploy.domain.artifact import Artifact, Golden, Method
from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import CommandTimeoutError, RunnerError
from edgedeploy.ports import Completed, Connection, Launch
from edgedeploy.runners.document import DocumentT, RunnerDocument, parse_document
from edgedeploy.runtimes.launch import command

if TYPE_CHECKING:
    from edgedeploy.agreement import Array

START_LIMIT_S = 300.0


def shortest(policy: MeasurePolicy) -> MeasurePolicy:
    """The same threads and processors, for outputs only: no time is measured."""
    return msgspec.structs.replace(
        policy, warmup_iterations=0, warmup_seconds=0.0, iterations=1, min_seconds=0.0, max_seconds=0.001
    )


SHORTEST = shortest(MeasurePolicy())


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where an artifact and its runner lie on a device. Folders are absolute there; ``scratch`` may be written."""

    artifact: Artifact
    bundle: RunnerBundle
    artifact_dir: str
    runner_dir: str
    scratch: str
    python: str
    device: str


def execute(
    connection: Connection, placed: Placed, method: Method, golden: Golden, policy: MeasurePolicy, *, profile: bool = False
) -> RunnerDocument:
    """One fresh process of the runner on these golden inputs; its outputs are left in ``placed.scratch``.

    With ``profile`` it tells the time of each operator instead of samples.

    Raises:
        RunnerError: it failed, crashed, printed nonsense, or ran another file than the one that was sent.
        DeviceLostError: the device went away.
    """
    return start(connection, placed, launch_of(placed, method, golden, policy, profile=profile), RunnerDocument)


def launch_of(placed: Placed, method: Method, golden: Golden, policy: MeasurePolicy, *, profile: bool = False) -> Launch:
    """What a runner is told, to run a method on golden inputs."""
    return Launch(
        model=f"{placed.artifact_dir}/{placed.artifact.entry}",
        method=method.entry,
        inputs=tuple(
            msgspec.structs.replace(spec, shape=shape) for spec, shape in zip(method.inputs, golden.input_shapes, strict=True)
        ),
        input_files=tuple(f"{placed.artifact_dir}/{entry.path}" for entry in golden.inputs),
        output_dir=placed.scratch,
        policy=policy,
        profile=profile,
    )


def start(connection: Connection, placed: Placed, launch: Launch, kind: type[DocumentT]) -> DocumentT:
    """One fresh process of the runner, and its document.

    Raises:
        RunnerError: it failed, crashed, printed nonsense, or ran another file than the one that was sent.
        DeviceLostError: the device went away.
    """
    argv = command(placed.bundle, launch, runner_dir=placed.runner_dir, python=placed.python)
    rest_s = launch.bursts.count * launch.bursts.idle_s if launch.bursts is not None else 0.0
    try:
        done = connection.run(argv, timeout_s=limit_s(launch.policy) + rest_s)
    except CommandTimeoutError as error:
        raise did_not_end(placed, error) from error
    return document_of(placed, done, kind)


def limit_s(policy: MeasurePolicy) -> float:
    """How long a process may take that measures by ``policy``: much more than a healthy one does."""
    return START_LIMIT_S + 4 * (policy.warmup_seconds + policy.max_seconds)


def did_not_end(placed: Placed, error: CommandTimeoutError) -> RunnerError:
    """What to say of a runner that was killed because its time was over."""
    return RunnerError(
        "the runner did not end in time and was killed",
        where=_place(placed),
        seen=error.what,
        next_step="it hangs, or the model is very slow there: give it fewer warm-up iterations (measure = { … })",
    )


def _place(placed: Placed) -> str:
    return f"{placed.device}: {placed.bundle.name} on {placed.artifact.model} {placed.artifact.lane.id}"


def document_of(placed: Placed, done: Completed, kind: type[DocumentT]) -> DocumentT:
    """The document of a process that has ended.

    Raises:
        RunnerError: it failed, crashed, printed nonsense, or ran another file than the one that was sent.
    """
    artifact, where = placed.artifact, _place(placed)
    document = parse_document(done.stdout, exit_code=done.exit_code, stderr=done.stderr, where=where, kind=kind)
    if document.model.sha256 != artifact.sha256:
        raise RunnerError(
            "another file ran than the one that was sent",
            where=where,
            seen=f"sha256 {document.model.sha256}, sent {artifact.sha256}",
            next_step="push again; something on the device changed the file",
        )
    return document


def once(
    connection: Connection, placed: Placed, method: Method, golden: Golden, policy: MeasurePolicy, folder: Path
) -> Agreement:
    """Run a method on golden inputs in a process of its own, by the threads and processors of ``policy``, and compare.

    Raises:
        RunnerError: it cannot be run, or gives other outputs than the artifact declares.
        DeviceLostError: the device went away.
    """
    document = execute(connection, placed, method, golden, shortest(policy))
    return agreement(connection, placed, method, golden, document, folder)


def agreement(
    connection: Connection, placed: Placed, method: Method, golden: Golden, document: RunnerDocument, folder: Path
) -> Agreement:
    """Fetch the outputs of the last execution and compare them with PyTorch's answers, which lie in ``folder``.

    Raises:
        RunnerError: another number, dtype or size of outputs than the artifact declares.
    """
    import numpy as np

    outputs = _outputs(connection, placed, method, golden, document)
    references = [
        np.fromfile(folder / entry.path, dtype=spec.dtype).reshape((golden.cases, *shape))
        for spec, shape, entry in zip(method.outputs, golden.output_shapes, golden.references, strict=True)
    ]
    several = len(placed.artifact.methods) > 1
    names = [f"{method.name}.{spec.name}" if several else spec.name for spec in method.outputs]
    return compare(outputs, references, names)


def _outputs(connection: Connection, placed: Placed, method: Method, golden: Golden, document: RunnerDocument) -> list[Array]:
    """One array of shape ``(cases, *shape)`` per output."""
    import numpy as np

    where = f"{placed.device}: {placed.artifact.model} {placed.artifact.lane.id}"
    declared = [spec.dtype for spec in method.outputs]
    if [output.dtype for output in document.outputs] != declared:
        raise RunnerError(
            "the outputs are not those the artifact declares",
            where=where,
            seen=f"{[output.dtype for output in document.outputs]}, declared {declared}",
        )
    outputs = []
    with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
        for output, shape in zip(document.outputs, golden.output_shapes, strict=True):
            file = Path(folder) / "output.bin"
            connection.fetch(f"{placed.scratch}/{output.file}", file)
            array = np.fromfile(file, dtype=output.dtype)
            if output.sha256 not in (None, hashlib.sha256(array.data).hexdigest()):
                raise RunnerError(
                    f"{output.file} is not what the runner wrote",
                    where=where,
                    seen=f"{file.stat().st_size} bytes with another sha256 than {output.sha256}",
                    next_step="run again; if it stays, something on the device changes the file, or its storage is damaged",
                )
            expected = golden.cases * math.prod(shape)
            if array.size != expected:
                raise RunnerError(
                    f"{output.file} has another size than PyTorch's answer",
                    where=where,
                    seen=f"{array.size} values, expected {expected}",
                )
            outputs.append(array.reshape((golden.cases, *shape)))
    return outputs
