"""What an export to Core ML says of itself: signatures, operators, facts. Imports torch and coremltools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgedeploy.domain.artifact import Operator
from edgedeploy.exporters import coreml_fidelity, mlpackage
from edgedeploy.exporters.coreml_fidelity import WeightFidelity
from edgedeploy.exporters.coreml_lane import MethodInLane
from edgedeploy.exporters.coreml_operators import operators_of
from edgedeploy.exporters.coreml_precisions import SCHEMES, Deployment
from edgedeploy.exporters.mlpackage import StoredWeight
from edgedeploy.ports import Exported, ExportedMethod


def report(methods: Sequence[MethodInLane], package: Path, *, precision: str, system: Deployment, user_root: str) -> Exported:
    """The export as its package declares it, read back from disk.

    Raises:
        ExportError: weights there are not what they were.
    """
    scheme = SCHEMES[precision]
    program = mlpackage.read(package)
    exported: list[ExportedMethod] = []
    operators: list[Operator] = []
    weights: list[StoredWeight] = []
    fidelity: list[WeightFidelity] = []
    for method in methods:
        traced = method.converted.traced
        function = traced.name if len(methods) > 1 else "main"
        inputs, outputs = mlpackage.signature(package, function, traced.inputs, traced.outputs)
        exported.append(ExportedMethod(name=traced.name, entry=function, inputs=inputs, outputs=outputs))
        operators += operators_of(method.converted, function=function, package=program, user_root=user_root)
        stored = tuple(mlpackage.constants(program, function))
        weights += stored
        fidelity += coreml_fidelity.weight_fidelity(method.converted, stored, method.floating_weights)
    coreml_fidelity.require(fidelity, scheme.weight_floor_db, precision)
    facts = mlpackage.inspection(package, program) | mlpackage.weight_facts(weights)
    facts["inputs"] = "; ".join(mlpackage.described(method.inputs) for method in exported)
    facts["outputs"] = "; ".join(mlpackage.described(method.outputs) for method in exported)
    facts["runs on"] = system.described()
    facts["compute precision"] = "float16" if scheme.half else "float32"
    facts["quantization"] = methods[0].quantization
    facts["weights SQNR"] = coreml_fidelity.described(fidelity)
    if (worst := min((one.quantized_sqnr_db for one in methods if one.quantized_sqnr_db is not None), default=None)) is not None:
        facts["int8 arithmetic SQNR"] = f"{worst:.1f} dB on the golden inputs, emulated by PyTorch"
    return Exported(entry=package.name, methods=tuple(exported), operators=tuple(operators), inspection=facts)
