"""Reading ``.mlpackage`` folders, and making them the same each time. Imports coremltools: load it when needed."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import coremltools as ct
from coremltools.proto import FeatureTypes_pb2, Model_pb2

from edgedeploy.domain.artifact import DType, TensorSpec
from edgedeploy.exporters.operator_counts import bounded

_SPEC = Path("Data", "com.apple.CoreML", "model.mlmodel")
_ArrayType = FeatureTypes_pb2.ArrayFeatureType
_DTYPES: dict[int, DType] = {
    _ArrayType.FLOAT16: "float16",
    _ArrayType.FLOAT32: "float32",
    _ArrayType.DOUBLE: "float64",
    _ArrayType.INT32: "int32",
}


def make_reproducible(package: Path) -> None:
    """Rewrite what differs between two conversions of one model.

    The manifest's item identifiers are random; here they follow from the items' paths. Protobuf maps are written in any
    order; here they are sorted.
    """
    manifest_path = package / "Manifest.json"
    manifest = json.loads(manifest_path.read_text())
    renamed = {
        old: str(uuid.uuid5(uuid.NAMESPACE_URL, entry["path"])).upper() for old, entry in manifest["itemInfoEntries"].items()
    }
    entries = {renamed[old]: entry for old, entry in manifest["itemInfoEntries"].items()}
    manifest["itemInfoEntries"] = dict(sorted(entries.items()))
    manifest["rootModelIdentifier"] = renamed[manifest["rootModelIdentifier"]]
    manifest_path.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")
    spec_path = package / _SPEC
    spec = Model_pb2.Model()
    spec.ParseFromString(spec_path.read_bytes())
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))


def signature(package: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as the package's specification declares them, in its order."""
    description = ct.utils.load_spec(str(package)).description
    return _specs(description.input), _specs(description.output)


def inspection(package: Path) -> dict[str, str]:
    """Facts read back from the package: specification version, operators, signature, size of the weights."""
    spec = ct.utils.load_spec(str(package))
    operators = Counter(
        operation.type
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        if operation.type != "const"
    )
    inputs, outputs = _specs(spec.description.input), _specs(spec.description.output)
    weights = [file.stat().st_size for file in package.rglob("weight.bin")]
    return {
        "specification version": str(spec.specificationVersion),
        "opset": ", ".join(sorted(function.opset for function in spec.mlProgram.functions.values())),
        "operators": str(operators.total()),
        "operator kinds": bounded(operators),
        "inputs": _described(inputs),
        "outputs": _described(outputs),
        "weight bytes": str(sum(weights)),
        "numeric_check": "not possible on Linux",
    }


def _specs(features: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=feature.name,
            dtype=_DTYPES[feature.type.multiArrayType.dataType],
            shape=tuple(feature.type.multiArrayType.shape),
        )
        for feature in features
    )


def _described(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype}[{','.join(map(str, spec.shape))}]" for spec in specs)
