"""Runs artifacts on this machine, by the same runners and the same protocol as on a device."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.agreement import merged
from edgedeploy.cache import Cache, key_of
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Sink
from edgedeploy.domain.measurement import RuntimeAgreement
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Target
from edgedeploy.errors import MissingToolError
from edgedeploy.host import host_abi, host_os
from edgedeploy.ports import Connection
from edgedeploy.runners.old_tflite import old_tflite_runner
from edgedeploy.stages.execute import SHORTEST, Placed, agreement, execute
from edgedeploy.stages.progress import emitter
from edgedeploy.stages.runner_choice import choose, python_facts_of
from edgedeploy.stages.talk import agreed, answer
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import Batch

_RUNTIMES = ("executorch-native", "litert-native", "executorch-python", "litert-python", "coreml-python")


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What verification works for and with on this machine."""

    target: Target
    project_file: Path
    cache: Cache
    workers: Workers
    sink: Sink


class HostRuntimes(msgspec.Struct, frozen=True, kw_only=True):
    """What can run an artifact here: the newest runtime, then the target's own versions. ``missing``: which cannot, and why."""

    bundles: tuple[RunnerBundle, ...]
    missing: tuple[str, ...]

    def identity(self) -> str:
        """Changes whenever anything else would compute the outputs."""
        engines = _engines() if any("{python}" in bundle.start for bundle in self.bundles) else {}
        return key_of([(bundle.name, [file.entry for file in bundle.files]) for bundle in self.bundles], engines)


def runtimes_of(artifact: Artifact, subject: str, workplace: Workplace) -> HostRuntimes:
    """The runtimes of this machine for ``artifact``; makes ready what they need."""
    sink, runners = workplace.sink, workplace.cache.runners
    emit = emitter(sink, "verify", subject)
    makers: list[Callable[[], RunnerBundle]] = [
        lambda: choose(
            artifact,
            tuple(dict.fromkeys((*_RUNTIMES, *registry.names("runtimes")))),
            abi=host_abi(),
            os=host_os(),
            python_facts=_engines,
            cache_dir=runners,
            emit=emit,
            sink=sink,
        )
    ]
    old = workplace.target.runtime_versions.get("tflite-runtime")
    if old is not None and artifact.format == "tflite":
        makers.append(lambda: old_tflite_runner(old, cache_dir=runners, emit=emit))
    bundles, missing = [], []
    for make in makers:
        try:
            bundles.append(make())
        except MissingToolError as error:
            missing.append(error.seen or error.what)
    return HostRuntimes(bundles=tuple(bundles), missing=tuple(missing))


def compare_here(artifact: Artifact, folder: Path, bundle: RunnerBundle) -> RuntimeAgreement:
    """Run every method on its golden inputs, which lie in ``folder`` beside the artifact, and compare with PyTorch.

    A language model also answers its prompts and scores its text.

    Raises:
        RunnerError: it cannot be run.
    """
    found, engine = [], ""
    with _placed(artifact, folder, bundle) as (connection, placed):
        for method, golden in artifact.calls():
            document = execute(connection, placed, method, golden, SHORTEST)
            engine = f"{document.runner.engine} {document.runner.engine_version}"
            found.append(agreement(connection, placed, method, golden, document, folder))
        whole = merged(found)
        language = artifact.language
        if language is not None:
            said = answer(connection, placed, language, SHORTEST, language.prompts, language.text)
            whole = msgspec.structs.replace(whole, language=agreed(said, language.prompts, language.text))
    return RuntimeAgreement(runtime=engine, agreement=whole)


def answer_here(artifact: Artifact, folder: Path, bundle: RunnerBundle, batches: Sequence[Batch], place: Path) -> None:
    """Run the main method on ``batches``, whose inputs lie below ``place``; their outputs are left there.

    Raises:
        RunnerError: it cannot be run.
    """
    link = place / artifact.entry
    link.symlink_to(folder / artifact.entry)
    with _placed(artifact, place, bundle) as (connection, placed):
        for batch in batches:
            there = replace(placed, scratch=str(place / batch.folder))
            execute(connection, there, artifact.methods[0], batch.golden, SHORTEST)


@contextmanager
def _placed(artifact: Artifact, folder: Path, bundle: RunnerBundle) -> Iterator[tuple[Connection, Placed]]:
    connection = _connection()
    scratch = Path(tempfile.mkdtemp(prefix="edgedeploy-"))
    try:
        runner_dir, outputs = scratch / "runner", scratch / "outputs"
        outputs.mkdir()
        for file in bundle.files:
            target = runner_dir / file.entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file.local)
        yield (
            connection,
            Placed(
                artifact=artifact,
                bundle=bundle,
                artifact_dir=str(folder),
                runner_dir=str(runner_dir),
                scratch=str(outputs),
                python=sys.executable,
                device="this-machine",
            ),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        connection.close()


def _connection() -> Connection:
    return registry.transport("local").connect(Device(name="this-machine", transport="local", state="ready"))


def _engines() -> dict[str, str]:
    return dict(python_facts_of(_connection(), sys.executable))
