"""Verify: does the exported file compute on this machine what PyTorch computes? Nothing is pushed before it does."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.agreement import complaints, merged
from edgedeploy.cache import Cache, key_of
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Finished, Sink, Started
from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.precision import floors_of
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import MissingToolError, VerifyError
from edgedeploy.host import host_abi, host_os
from edgedeploy.ports import Connection
from edgedeploy.stages.execute import Placed, once
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.progress import emitter
from edgedeploy.stages.runner_choice import choose, python_facts_of

_RUNTIMES = ("executorch-native", "litert-native", "executorch-python", "litert-python", "coreml-python")


class HostVerification(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on this machine. ``agreement`` is None when nothing here can run the format; ``note`` says why."""

    agreement: Agreement | None
    note: str = ""


def verify(prepared: Prepared, cache: Cache, sink: Sink) -> HostVerification:
    """Run the artifact on the golden inputs and compare. Cached by artifact and golden inputs.

    Raises:
        VerifyError: it falls short of the recipe's floors.
        RunnerError: it cannot be run at all.
    """
    run, artifact = prepared.run, prepared.artifact
    sink(Started(stage="verify", subject=run.label))
    found, cached = _verification(prepared, cache, sink)
    if found.agreement is not None and (short := complaints(found.agreement, floors_of(run.recipe))):
        raise VerifyError(
            "the export does not compute what PyTorch computes: " + "; ".join(short),
            where=f"{run.model_name} as {run.lane.id}",
            seen=f"{_cases(artifact)} golden inputs on this machine",
            next_step=_way_out(run.recipe.precision, run.recipe_name),
        )
    sink(Finished(stage="verify", subject=run.label, cached=cached, text=_say(found)))
    return found


def _verification(prepared: Prepared, cache: Cache, sink: Sink) -> tuple[HostVerification, bool]:
    """The verification by the runner this machine has now, and whether it was in the cache."""
    artifact = prepared.artifact
    connection = registry.transport("local").connect(Device(name="this-machine", transport="local", state="ready"))
    try:
        bundle = choose(
            artifact,
            tuple(dict.fromkeys((*_RUNTIMES, *registry.names("runtimes")))),
            abi=host_abi(),
            os=host_os(),
            python_facts=lambda: python_facts_of(connection, sys.executable),
            cache_dir=cache.runners,
            emit=emitter(sink, "verify", prepared.run.label),
            sink=sink,
        )
    except MissingToolError as error:
        return HostVerification(agreement=None, note=f"not run on this machine: {error.seen or error.what}"), False
    engines = python_facts_of(connection, sys.executable) if "{python}" in bundle.start else {}
    key = key_of("verify", 3, artifact.sha256, artifact.methods, [file.entry for file in bundle.files], engines)
    found = cache.read("verifications", key, HostVerification)
    if found is not None:
        return found, True
    found = _verify_now(prepared, bundle, connection)
    cache.write("verifications", key, msgspec.json.encode(found))
    return found, False


def _verify_now(prepared: Prepared, bundle: RunnerBundle, connection: Connection) -> HostVerification:
    artifact, folder = prepared.artifact, Path(prepared.folder)
    with tempfile.TemporaryDirectory(prefix="edgedeploy-") as scratch:
        runner_dir = Path(scratch, "runner")
        _lay_out(bundle, runner_dir)
        outputs = Path(scratch, "outputs")
        outputs.mkdir()
        placed = Placed(
            artifact=artifact,
            bundle=bundle,
            artifact_dir=str(folder),
            runner_dir=str(runner_dir),
            scratch=str(outputs),
            python=sys.executable,
            device="this-machine",
        )
        found = [once(connection, placed, method, golden, MeasurePolicy(), folder) for method, golden in artifact.calls()]
        return HostVerification(agreement=merged(found))


def _lay_out(bundle: RunnerBundle, folder: Path) -> None:
    for file in bundle.files:
        target = folder / file.entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file.local)


def _cases(artifact: Artifact) -> int:
    return sum(golden.cases for _, golden in artifact.calls())


def _say(found: HostVerification) -> str:
    if found.agreement is None:
        return found.note
    if found.agreement.exact:
        return "identical to PyTorch"
    return f"max abs error {found.agreement.max_abs_error:.2g}, SQNR {found.agreement.sqnr_db:.1f} dB"


def _way_out(precision: str, recipe: str) -> str:
    if precision == "fp32":
        return f"the conversion is wrong: try another exporter, or loosen [recipes.{recipe}] accept if you know better"
    return f"give the model source real calibration inputs, try another exporter or precision, or set [recipes.{recipe}] accept"
