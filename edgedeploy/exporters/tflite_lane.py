"""One lane of TFLite, from traced methods to a file that is read back. Imports the SDKs: load it when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgedeploy.domain.artifact import Operator
from edgedeploy.errors import ExportError
from edgedeploy.exporters import tflite_file, tflite_moving
from edgedeploy.exporters.diagnosis import explained, innermost_line
from edgedeploy.exporters.int8_scope import activations_fit_int8
from edgedeploy.exporters.tflite_compatibility import OLD_ENGINE, incompatibilities
from edgedeploy.exporters.tflite_conversion import Converted
from edgedeploy.exporters.tflite_graph import OperatorUse, read_graphs
from edgedeploy.exporters.tflite_operators import origin_of, what_runs
from edgedeploy.exporters.tflite_quantizing import CALIBRATED, Quantization, left_in_float
from edgedeploy.exporters.tflite_refusal import explained_engine
from edgedeploy.exporters.tracing import Traced
from edgedeploy.ports import Emit, ExportedMethod
from edgedeploy.source import LoadedModel

_ONLY_SIGNATURE = "serving_default"


@dataclass(frozen=True, kw_only=True)
class Written:
    """A finished file and what was read back from it."""

    content: bytes
    methods: tuple[ExportedMethod, ...]
    operators: tuple[Operator, ...]
    inspection: dict[str, str]


def in_lane(
    model: LoadedModel,
    traces: Sequence[Traced],
    precision: str,
    runtime_versions: Mapping[str, str],
    emit: Emit,
    sdk: str,
) -> Written:
    """The model in one precision, fit for the engines of the target.

    Raises:
        ExportError: an operator litert-torch has no lowering for; a dimension that cannot move; nothing that could have the
            precision; an operator that the target's old engine does not compute right.
    """
    old_engine = runtime_versions.get(OLD_ENGINE)
    names = [_ONLY_SIGNATURE] if len(traces) == 1 else [traced.name for traced in traces]
    emit("converting to TFLite")
    converted = _converted(model, traces, names, sdk, old_runtime=old_engine is not None)
    with explained_engine(converted.content, converted.origins, model.user_root):
        signatures = [
            tflite_file.signature(converted.content, name, traced.inputs, traced.outputs)
            for name, traced in zip(names, traces, strict=True)
        ]
    samples = {
        name: [signature.sample(batch) for batch in traced.calibration]
        for name, signature, traced in zip(names, signatures, traces, strict=True)
    }
    everything = all(activations_fit_int8(traced.program) for traced in traces)
    if precision != "fp32":
        calibrating = precision in CALIBRATED
        inputs = sum(map(len, samples.values()))
        emit(f"calibrating {precision} on {inputs} inputs" if calibrating else f"quantizing to {precision}")
    with explained(sdk, model.user_root, traces[0].program):
        quantization = Quantization(converted.content, samples, everything=everything, old_runtime=old_engine is not None)
        content = quantization.run(precision)
    if old_engine is not None:
        emit(f"checking that {OLD_ENGINE} {old_engine} computes it right")
        _require_engine(content, converted, old_engine, model.user_root)
    emit("reading the file back")
    methods: list[ExportedMethod] = []
    operators: list[Operator] = []
    with explained_engine(content, converted.origins, model.user_root):
        for name, traced in zip(names, traces, strict=True):
            signature = tflite_file.signature(content, name, traced.inputs, traced.outputs)
            methods.append(ExportedMethod(name=traced.name, entry=name, inputs=signature.inputs, outputs=signature.outputs))
            example = signature.sample(traced.example_inputs)
            operators += what_runs(content, name, example, converted.origins, method=traced.name, user_root=model.user_root)
    facts = tflite_file.inspection(content) | {"quantization": _described(precision, everything=everything)}
    floats, constants = left_in_float(content)
    if precision not in ("fp32", "fp16") and floats:
        facts["weights in float32"] = f"{floats} of {constants} bytes"
    return Written(content=content, methods=tuple(methods), operators=tuple(operators), inspection=facts)


def _converted(model: LoadedModel, traces: Sequence[Traced], names: Sequence[str], sdk: str, *, old_runtime: bool) -> Converted:
    """The float file, converted once for all lanes of a worker."""

    def convert() -> Converted:
        with explained(sdk, model.user_root, traces[0].program):
            return tflite_moving.convert(traces, names, spare_bool_indexing=old_runtime, user_root=model.user_root)

    return model.once(f"tflite for {'old' if old_runtime else 'new'} engines", convert)


def _require_engine(content: bytes, converted: Converted, version: str, user_root: str) -> None:
    found = incompatibilities(read_graphs(content))
    if not found:
        return
    lines = [_line(one.operator, converted, user_root) for one in found]
    # Constants have no line of their own: one that has tells more.
    place = next((place for place, line in enumerate(lines) if line), 0)
    first = found[place]
    raise ExportError(
        f"{OLD_ENGINE} {version} would compute this file wrongly"
        if first.silent
        else f"{OLD_ENGINE} {version} cannot run this file",
        where=lines[place] or first.operator.name,
        seen=first.reason + (f"; {len(found) - 1} more operators like it" if len(found) > 1 else ""),
        next_step=first.next_step,
    )


def _line(operator: OperatorUse, converted: Converted, user_root: str) -> str:
    origin = origin_of(operator, converted.origins)
    line = innermost_line(origin.stack_trace, user_root) if origin and origin.stack_trace else None
    return str(line or "")


def _described(precision: str, *, everything: bool) -> str:
    if precision == "int8":
        return "int8 static" if everything else "int8 static in layers with weights"
    return {
        "fp32": "none",
        "fp16": "float16 weights",
        "int8-static": "int8 static",
        "int8-dynamic": "int8 weights per channel, activations int8 at run time",
        "int8-weights": "int8 weights per channel, float arithmetic",
        "int4-weights": "int4 weights per channel, int8 where TFLite has no int4; float arithmetic",
        "8da4w": "int4 weights in groups of 32 in linear layers, int8 elsewhere; activations int8 at run time",
        "16x8": "int16 activations, int8 weights",
    }[precision]
