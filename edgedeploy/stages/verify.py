"""Verify: does the exported file compute on this machine what PyTorch computes? Nothing is pushed before it does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.agreement import complaints
from edgedeploy.cache import Cache, key_of
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Finished, Sink, Started
from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.recipe import floors_of
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import MissingToolError, VerifyError
from edgedeploy.host import host_abi, host_os
from edgedeploy.stages.execute import Placed, agreement, execute, references_of
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.progress import emitter
from edgedeploy.stages.runner_choice import choose, python_facts_of

_RUNTIMES = ("executorch-native", "litert-native", "executorch-python", "litert-python", "coreml-python")
_ONCE = MeasurePolicy(processes=1, warmup_iterations=0, iterations=1, max_seconds=0.001)


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
    key = key_of("verify", 1, artifact.sha256, artifact.golden, _RUNTIMES)
    record = cache.read("verifications", key)
    if record is not None:
        found = msgspec.json.decode(record, type=HostVerification)
    else:
        found = _verify_now(prepared, cache, sink)
        if found.agreement is not None:
            cache.write("verifications", key, msgspec.json.encode(found))
    if found.agreement is not None and (short := complaints(found.agreement, floors_of(run.recipe))):
        raise VerifyError(
            "the export does not compute what PyTorch computes: " + "; ".join(short),
            where=f"{run.model_name} as {run.lane.id}",
            seen=f"{artifact.golden.cases} golden inputs on this machine",
            next_step=_way_out(run.recipe.precision, run.recipe_name),
        )
    sink(Finished(stage="verify", subject=run.label, cached=record is not None, text=_say(found)))
    return found


def _verify_now(prepared: Prepared, cache: Cache, sink: Sink) -> HostVerification:
    transport = registry.transport("local")
    here = Device(name="this-machine", transport="local", state="ready")
    artifact, folder = prepared.artifact, Path(prepared.folder)
    connection = transport.connect(here)
    import sys

    with tempfile.TemporaryDirectory(prefix="edgedeploy-") as scratch:
        runner_dir = Path(scratch, "runner")
        try:
            bundle = choose(
                artifact,
                _RUNTIMES,
                abi=host_abi(),
                os=host_os(),
                python_facts=lambda: python_facts_of(connection, sys.executable),
                cache_dir=cache.runners,
                emit=emitter(sink, "verify", prepared.run.label),
                sink=sink,
            )
        except MissingToolError as error:
            return HostVerification(agreement=None, note=f"not run on this machine: {error.seen or error.what}")
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
            device=here.name,
        )
        document = execute(connection, placed, _ONCE)
        return HostVerification(agreement=agreement(connection, placed, document, references_of(artifact, folder)))


def _lay_out(bundle: RunnerBundle, folder: Path) -> None:
    for file in bundle.files:
        target = folder / file.entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file.local)


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
