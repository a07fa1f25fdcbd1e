"""Starts a runner on a device once, and brings back its document and outputs. Verify and measure both stand on this."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedeploy.agreement import Array, compare
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import CommandTimeoutError, RunnerError
from edgedeploy.ports import Connection, Launch
from edgedeploy.runners.document import RunnerDocument, parse_document
from edgedeploy.runtimes.launch import command

_START_LIMIT_S = 300.0


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


def execute(connection: Connection, placed: Placed, policy: MeasurePolicy) -> RunnerDocument:
    """One fresh process of the runner; its outputs are left in ``placed.scratch``.

    Raises:
        RunnerError: it failed, crashed, printed nonsense, or ran another file than the one that was sent.
        DeviceLostError: the device went away.
    """
    artifact = placed.artifact
    launch = Launch(
        model=f"{placed.artifact_dir}/{artifact.entry}",
        inputs=artifact.inputs,
        input_files=tuple(f"{placed.artifact_dir}/{entry.path}" for entry in artifact.golden.inputs),
        output_dir=placed.scratch,
        policy=policy,
    )
    argv = command(placed.bundle, launch, runner_dir=placed.runner_dir, python=placed.python)
    where = f"{placed.device}: {placed.bundle.name} on {artifact.model} {artifact.lane.id}"
    try:
        done = connection.run(argv, timeout_s=_START_LIMIT_S + 4 * policy.max_seconds)
    except CommandTimeoutError as error:
        raise RunnerError(
            "the runner did not end in time and was killed",
            where=where,
            seen=error.what,
            next_step="it hangs, or the model is very slow there: give it fewer warm-up iterations (measure = { … })",
        ) from error
    document = parse_document(done.stdout, exit_code=done.exit_code, stderr=done.stderr, where=where)
    if document.model.sha256 != artifact.sha256:
        raise RunnerError(
            "another file ran than the one that was sent",
            where=where,
            seen=f"sha256 {document.model.sha256}, sent {artifact.sha256}",
            next_step="push again; something on the device changed the file",
        )
    return document


def agreement(connection: Connection, placed: Placed, document: RunnerDocument, references: Sequence[Array]) -> Agreement:
    """Fetch the outputs of the last execution and compare them with PyTorch's.

    Raises:
        RunnerError: another number, dtype or size of outputs than the artifact declares.
    """
    artifact = placed.artifact
    where = f"{placed.device}: {artifact.model} {artifact.lane.id}"
    declared = [spec.dtype for spec in artifact.outputs]
    if [output.dtype for output in document.outputs] != declared:
        raise RunnerError(
            "the outputs are not those the artifact declares",
            where=where,
            seen=f"{[output.dtype for output in document.outputs]}, declared {declared}",
        )
    outputs = []
    with tempfile.TemporaryDirectory(prefix="edgedeploy-") as folder:
        for output, reference in zip(document.outputs, references, strict=True):
            file = Path(folder) / "output.bin"
            connection.fetch(f"{placed.scratch}/{output.file}", file)
            array = np.fromfile(file, dtype=output.dtype)
            if array.size != reference.size:
                raise RunnerError(
                    f"{output.file} has another size than PyTorch's answer",
                    where=where,
                    seen=f"{array.size} values, expected {reference.size}",
                )
            outputs.append(array.reshape(reference.shape))
    return compare(outputs, references)


def references_of(artifact: Artifact, folder: Path) -> tuple[Array, ...]:
    """PyTorch's answers, one array of shape ``(cases, *shape)`` per output."""
    return tuple(
        np.fromfile(folder / entry.path, dtype=spec.dtype).reshape((artifact.golden.cases, *spec.shape))
        for spec, entry in zip(artifact.outputs, artifact.golden.references, strict=True)
    )
