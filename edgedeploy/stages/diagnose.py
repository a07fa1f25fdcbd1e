"""Where an error begins: the export is made once more with the outputs of the model's layers as further outputs.

It goes through the same exporter, runner and comparison as the artifact itself, so it shows what a quantizer does as well as
what a runtime's kernels do, in any format. It costs another export, and is done only when a floor is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgedeploy.agreement import complaints
from edgedeploy.cache import key_of
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.measurement import Agreement, Layer, LayerAgreement, LayerOutput, OutputAgreement
from edgedeploy.domain.recipe import Floors
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.errors import EdgedeployError
from edgedeploy.stages.export import Prepared, export_job, log_name
from edgedeploy.stages.host_run import Workplace, compare_here
from edgedeploy.stages.progress import emitter

_FALL_DB = 10.0
_EXACT_DB = 999.0
_NAN_DB = -999.0


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The agreement of each layer, in the order of execution, and in words where it is lost."""

    layers: tuple[LayerAgreement, ...]
    growth: str


def diagnose(prepared: Prepared, bundle: RunnerBundle, identity: str, floors: Floors, workplace: Workplace) -> Diagnosis:
    """Compare the layers of an export that falls short of ``floors`` when ``bundle`` runs it; that it cannot, is in words too."""
    if prepared.artifact.language is not None:  # its layers keep a state, and one export takes minutes
        return Diagnosis(layers=(), growth="")
    key = key_of("diagnose", 1, Path(prepared.folder).name, identity, bundle.name, floors)
    found = workplace.cache.read("diagnoses", key, Diagnosis)
    if found is None:
        try:
            found = _look(prepared, bundle, floors, workplace)
        except EdgedeployError as error:  # the shortfall itself is what the user has to hear of
            return Diagnosis(layers=(), growth=f"its layers could not be compared: {error.what}")
        workplace.cache.write("diagnoses", key, msgspec.json.encode(found))
    return found


def where_error_grows(layers: Sequence[LayerAgreement], least_db: float | None) -> str:
    """The first layer whose SQNR is 10 dB below all before it and below ``least_db``; else where it falls most.

    Empty when there are no layers.
    """
    worst = _EXACT_DB
    falls = []
    for number, layer in enumerate(layers):
        level = _level(layer)
        falls.append(worst - level if worst < _EXACT_DB else 0.0)  # from no error to some is no fall
        if level == _NAN_DB or (worst - level >= _FALL_DB and least_db is not None and level < least_db):
            before = f"{_words(layers[number - 1])} in the layer before" if number else "the first that was looked at"
            return f"the error begins in {_name(layer.layer)}: {_words(layer)} in its output, {before}"
        worst = min(worst, level)
    if not layers:
        return ""
    most = max(range(len(layers)), key=falls.__getitem__)
    first, last = _words(layers[0]), _words(layers[-1])
    ends = f"no single layer loses it: {first} in the first layer, {last} in the last"
    return f"{ends}; the largest fall, {falls[most]:.1f} dB, is in {_name(layers[most].layer)}" if falls[most] > 0 else ends


def _look(prepared: Prepared, bundle: RunnerBundle, floors: Floors, workplace: Workplace) -> Diagnosis:
    run, target, cache, project_file = prepared.run, workplace.target, workplace.cache, workplace.project_file
    emit = emitter(workplace.sink, "verify", run.label)
    with cache.scratch() as scratch:
        job = export_job([run], [scratch], target, project_file, layers=True)
        log = cache.log(f"{log_name(run, target, project_file)}-layers")
        ((_, outcome),) = workplace.workers.run(job, log=log, tell=lambda _order, text: emit(f"looking for the layer: {text}"))
        if isinstance(outcome, EdgedeployError):
            raise outcome
        agreement = compare_here(outcome.artifact, scratch, bundle).agreement
    own, layers = _parted(outcome.artifact, prepared.artifact, agreement, outcome.layers)
    if not complaints(Agreement(max_abs_error=None, cosine=None, sqnr_db=None, exact=False, outputs=own), floors):
        growth = "exported with its layers' outputs beside its own, it is right: the error is in what the backend fuses"
        return Diagnosis(layers=layers, growth=growth)
    return Diagnosis(layers=layers, growth=where_error_grows(layers, floors.min_sqnr_db))


def _parted(
    layered: Artifact, artifact: Artifact, agreement: Agreement, layers: Sequence[LayerOutput]
) -> tuple[tuple[OutputAgreement, ...], tuple[LayerAgreement, ...]]:
    """The model's own outputs, and its layers': each method's own come first."""
    outputs = iter(agreement.outputs)
    own: list[OutputAgreement] = []
    found: list[LayerAgreement] = []
    for method, plain in zip(layered.methods, artifact.methods, strict=True):
        all_of_method = [next(outputs) for _ in method.outputs]
        own += all_of_method[: len(plain.outputs)]
        found += [_of_layer(one, all_of_method[one.output]) for one in layers if one.layer.method == method.name]
    return tuple(own), tuple(found)


def _of_layer(one: LayerOutput, output: OutputAgreement) -> LayerAgreement:
    return LayerAgreement(layer=one.layer, sqnr_db=output.sqnr_db, exact=output.exact, finite=output.finite)


def _level(layer: LayerAgreement) -> float:
    if not layer.finite:
        return _NAN_DB
    return _EXACT_DB if layer.exact or layer.sqnr_db is None else layer.sqnr_db


def _words(layer: LayerAgreement) -> str:
    if not layer.finite:
        return "NaN or infinite values"
    return "no error" if layer.exact or layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB"


def _name(layer: Layer) -> str:
    place = f", {layer.source}" if layer.source else ""
    return f"{layer.module} ({layer.kind}{place})"
