"""Verify: does the exported file compute on this machine what PyTorch computes? Nothing is pushed before it does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy.agreement import complaints
from edgedeploy.cache import Cache, key_of
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.events import Finished, Started
from edgedeploy.domain.measurement import Agreement, RuntimeAgreement
from edgedeploy.domain.precision import FLOAT32_ADVICE, floors_of, safer_precisions
from edgedeploy.domain.recipe import Floors
from edgedeploy.domain.result import Verification
from edgedeploy.domain.target import Lane, Target
from edgedeploy.errors import VerifyError
from edgedeploy.report.words import language_words
from edgedeploy.stages.diagnose import diagnose
from edgedeploy.stages.evaluate import evaluate, metric_complaint
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.host_run import HostRuntimes, Workplace, compare_here, runtimes_of
from edgedeploy.stages.plan import lanes_of

# Floats with fewer bits than those of a lane: what it computes cannot be told from a mistake.
_COARSER = {"fp32": frozenset({"bfloat16", "float16"}), "fp16": frozenset({"bfloat16"})}


class _Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache keeps: an agreement per runtime, in their order."""

    runtimes: tuple[RuntimeAgreement, ...]


def verify(prepared: Prepared, workplace: Workplace) -> Verification:
    """Run the artifact on the golden inputs by every runtime this machine has for the target, and compare with PyTorch.

    Where the source has an evaluation, its metric too; where a floor is broken, the layers. Cached. What is found is
    returned and not judged: see :func:`require`.

    Raises:
        RunnerError: the artifact cannot be run at all.
        ModelError: the source's evaluation fails.
    """
    run, sink = prepared.run, workplace.sink
    sink(Started(stage="verify", subject=run.label))
    runtimes = runtimes_of(prepared.artifact, run.label, workplace)
    note = "; ".join(f"not run on this machine: {reason}" for reason in runtimes.missing)
    if not runtimes.bundles:
        sink(Finished(stage="verify", subject=run.label, cached=False, text=note))
        return Verification(note=note)
    identity = runtimes.identity()
    compared, cached = _compared(prepared, runtimes, identity, workplace.cache)
    found = Verification(
        host=_worst(compared),
        runtimes=compared,
        metric=evaluate(prepared, runtimes.bundles[0], identity, workplace),
        note=note,
    )
    floors = floors_of(run.recipe)
    short = [number for number, one in enumerate(compared) if complaints(one.agreement, floors)]
    if short:
        bundle = runtimes.bundles[short[0]]
        seen = diagnose(prepared, bundle, identity, floors, workplace)
        return msgspec.structs.replace(found, layers=seen.layers, growth=seen.growth)
    if not shortfalls(found, floors):
        sink(Finished(stage="verify", subject=run.label, cached=cached, text=_say(found)))
    return found


def require(found: Verification, prepared: Prepared, target: Target) -> None:
    """Refuse an export that falls short of its recipe's floors.

    Raises:
        VerifyError: with the layer at which the error begins, and the next safer precision that ``target`` offers.
    """
    run = prepared.run
    short = shortfalls(found, floors_of(run.recipe))
    if short:
        cases = sum(golden.cases for _, golden in prepared.artifact.calls())
        raise VerifyError(
            "the export does not compute what PyTorch computes: " + "; ".join(short),
            where=f"{run.model_name} as {run.lane.id}",
            seen=found.growth or f"{cases} golden inputs on this machine",
            next_step=_way_out(run.lane, run.recipe_name, lanes_of(target), prepared.artifact.weight_dtypes),
        )


def shortfalls(found: Verification, floors: Floors) -> tuple[str, ...]:
    """What falls short of the floors on this machine, each as a sentence; empty when the export is accepted."""
    several = len(found.runtimes) > 1
    short = [
        f"{one.runtime}: {text}" if several else text for one in found.runtimes for text in complaints(one.agreement, floors)
    ]
    metric = metric_complaint(found.metric, floors)
    return (*short, metric) if metric else tuple(short)


def _compared(
    prepared: Prepared, runtimes: HostRuntimes, identity: str, cache: Cache
) -> tuple[tuple[RuntimeAgreement, ...], bool]:
    artifact, folder = prepared.artifact, Path(prepared.folder)
    key = key_of("verify", 4, artifact.sha256, artifact.methods, artifact.language, identity)
    known = cache.read("verifications", key, _Compared)
    if known is not None:
        return known.runtimes, True
    found = _Compared(runtimes=tuple(compare_here(artifact, folder, bundle) for bundle in runtimes.bundles))
    cache.write("verifications", key, msgspec.json.encode(found))
    cache.write("verified", _artifact_key(artifact), b"true")
    return found.runtimes, False


def was_verified(prepared: Prepared, cache: Cache) -> bool:
    """Whether this artifact was compared with PyTorch before, by whatever runner. Cheap: none is looked for."""
    return cache.read("verified", _artifact_key(prepared.artifact), bool) is True


def _artifact_key(artifact: Artifact) -> str:
    return key_of("verified", artifact.sha256, artifact.methods)


def _worst(compared: Sequence[RuntimeAgreement]) -> Agreement:
    """The agreement of the runtime that is furthest from PyTorch."""

    def closeness(agreement: Agreement) -> float:
        if not agreement.finite:
            return float("-inf")
        return float("inf") if agreement.exact or agreement.sqnr_db is None else agreement.sqnr_db

    return min((one.agreement for one in compared), key=closeness)


def _say(found: Verification) -> str:
    agreement = found.host
    if agreement is None or agreement.exact:
        text = "identical to PyTorch"
    else:
        text = f"max abs error {agreement.max_abs_error:.2g}, SQNR {agreement.sqnr_db:.1f} dB"
        text += f", {language_words(agreement.language)}" if agreement.language else ""
    metric = found.metric
    if metric is not None and metric.value is not None:
        text += f", {metric.metric} {metric.value:.4g} (PyTorch {metric.reference:.4g})"
    return text


def _way_out(lane: Lane, recipe: str, offered: Sequence[Lane], weight_dtypes: Sequence[str]) -> str:
    """Weights in float32, of which PyTorch's own answers are exact; else the next safer precision, best of this exporter."""
    loosen = f"[recipes.{recipe}] accept"
    coarse = sorted(_COARSER.get(lane.precision, frozenset()).intersection(weight_dtypes))
    if coarse:
        return f"the model has weights in {coarse[0]}, and PyTorch's own answers are as coarse: {FLOAT32_ADVICE}"
    for candidates in ([other for other in offered if other.exporter == lane.exporter], offered):
        for precision in safer_precisions(lane.precision):
            for other in candidates:
                if other.precision == precision:
                    data = "" if lane.precision == "fp16" else "give the model source real calibration inputs, or "
                    return f'{data}take the next safer precision: recipes = ["{precision}"] ({other.id}); or loosen {loosen}'
    return f"the conversion is wrong: try another exporter, or loosen {loosen} if you know better"
