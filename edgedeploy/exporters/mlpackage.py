"""Reading ``.mlpackage`` folders, and making them the same each time. Imports coremltools: load it when needed."""

from __future__ import annotations

import json
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.frontend.milproto.load import load as load_program
from coremltools.converters.mil.mil import Operation, Program, Var, types
from coremltools.proto import FeatureTypes_pb2, Model_pb2

from edgedeploy.domain.artifact import DType, DynamicDim, TensorSpec
from edgedeploy.exporters.operator_counts import bounded

COMPUTE_UNITS_KEY = "edgedeploy.compute_units"
_FOLDER = Path("Data", "com.apple.CoreML")
_SPEC = _FOLDER / "model.mlmodel"
_WEIGHTS = _FOLDER / "weights"
# Constants with fewer elements are scales, shapes and the like.
_SMALLEST_WEIGHT = 17
# How constexpr operators store a weight, in words. A chain of them (sparse and int8) is joined.
_KINDS = {
    "constexpr_affine_dequantize": "linear",
    "constexpr_blockwise_shift_scale": "linear",
    "constexpr_sparse_blockwise_shift_scale": "linear",
    "constexpr_lut_to_dense": "table",
    "constexpr_lut_to_sparse": "table",
    "constexpr_sparse_to_dense": "sparse",
}
_ArrayType = FeatureTypes_pb2.ArrayFeatureType
_DTYPES: dict[int, DType] = {
    _ArrayType.FLOAT16: "float16",
    _ArrayType.FLOAT32: "float32",
    _ArrayType.DOUBLE: "float64",
    _ArrayType.INT32: "int32",
}


@dataclass(frozen=True, kw_only=True)
class StoredWeight:
    """A weight of a package: how it is stored (``float16``, ``int4 linear``), in how many bits, and what it decompresses to."""

    name: str
    kind: str
    bits: int
    value: np.ndarray[Any, Any]


def finish(package: Path, *, compute_units: str) -> None:
    """Write down the compute units for a runner, and rewrite what differs between two conversions of one model.

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
    spec.description.metadata.userDefined[COMPUTE_UNITS_KEY] = compute_units
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))


def read(package: Path) -> Program:
    """The package's program with its weights, as coremltools' own objects. Cost: the weights, uncompressed where asked for."""
    spec = ct.utils.load_spec(str(package))
    return load_program(spec, spec.specificationVersion, str(package / _WEIGHTS))


def signature(
    package: Path, function: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of a function as the package declares them, in its order.

    ``inputs`` and ``outputs`` are PyTorch's, in the same order: the shapes of the example, which a package with dimensions
    that move does not have for its outputs.
    """
    description = _description(ct.utils.load_spec(str(package)), function)
    return _specs(description.input, inputs), _specs(description.output, outputs)


def operations(program: Program, function: str) -> Iterator[Operation]:
    """Every operation of a function that computes something, those inside loops and branches too, in its order."""

    def inside(block: Any) -> Iterator[Operation]:
        for operation in block.operations:
            if operation.op_type != "const" and not operation.op_type.startswith("constexpr_"):
                yield operation
                for inner in operation.blocks:
                    yield from inside(inner)

    yield from inside(program.functions[function])


def constants(program: Program, function: str) -> Iterator[StoredWeight]:
    """Every floating-point constant of a function, decompressed."""
    for operation in program.functions[function].operations:
        output = operation.outputs[0] if len(operation.outputs) == 1 else None
        if output is None or not (operation.op_type == "const" or operation.op_type.startswith("constexpr_")):
            continue
        if operation.op_type.startswith("constexpr_"):
            value = operation.materialized_val_inference()
        elif any(user.op_type.startswith("constexpr_") for user in output.child_ops):
            continue
        else:
            value = output.val
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size >= _SMALLEST_WEIGHT:
            yield StoredWeight(name=output.name, kind=_kind(operation), bits=_stored_bits(operation), value=value)


def inspection(package: Path, program: Program) -> dict[str, str]:
    """Facts read back from the package: specification version, operators, states, how weights are stored."""
    spec = ct.utils.load_spec(str(package))
    names = list(program.functions)
    computing = Counter(operation.op_type for name in names for operation in operations(program, name))
    constexpr = Counter(
        operation.op_type
        for name in names
        for operation in program.functions[name].operations
        if operation.op_type.startswith("constexpr_")
    )
    description = _description(spec, names[0])
    file_bytes = sum(file.stat().st_size for file in package.rglob("weight.bin"))
    facts = {
        "specification version": str(spec.specificationVersion),
        "opset": ", ".join(sorted({function.opset for function in spec.mlProgram.functions.values()})),
        "operators": str(computing.total()),
        "operator kinds": bounded(computing),
        "compute units": spec.description.metadata.userDefined[COMPUTE_UNITS_KEY],
        "weight bytes": str(file_bytes),
        "numeric_check": "left to the verify stage" if sys.platform == "darwin" else "not possible on Linux",
    }
    if constexpr:
        facts["compressed weights"] = bounded(constexpr)
    if len(names) > 1:
        facts["functions"] = ", ".join(sorted(names))
    if description.state:
        facts["states"] = ", ".join(
            f"{state.name} float16[{','.join(map(str, state.type.stateType.arrayType.shape))}]" for state in description.state
        )
    return facts


def weight_facts(weights: Sequence[StoredWeight]) -> dict[str, str]:
    """How the weights are stored: tensors and bytes by kind, and bits per weight over all of them."""
    if not weights:
        return {"weights": "none"}
    kinds: dict[str, list[StoredWeight]] = {}
    for weight in weights:
        kinds.setdefault(weight.kind, []).append(weight)
    by_size = sorted(kinds.items(), key=lambda item: -sum(weight.bits for weight in item[1]))
    elements = sum(weight.value.size for weight in weights)
    return {
        "weights": ", ".join(f"{kind} \u00d7{len(some)} ({sum(one.bits for one in some) // 8} bytes)" for kind, some in by_size),
        "bits per weight": f"{sum(weight.bits for weight in weights) / elements:.2f}",
    }


def _kind(operation: Operation) -> str:
    """``float16``, ``int8 linear``, ``sparse, uint4 table``: outermost first."""
    if operation.op_type == "const":
        name: str = types.builtin_to_string(operation.outputs[0].dtype)
        return name.replace("fp", "float")
    inner = [var.op for var in _inputs(operation) if var.op is not None and var.op.op_type.startswith("constexpr_")]
    word = _KINDS.get(operation.op_type, operation.op_type)
    if inner:
        return f"{word}, {_kind(inner[0])}"
    # The largest constant is the weight's own; a mask of one bit says only where values are.
    known = [var for var in _inputs(operation) if var.val is not None and _bits(var) > 1]
    data = max(known, key=lambda var: np.asarray(var.val).size)
    return f"{types.builtin_to_string(data.dtype)} {word}"


def _stored_bits(operation: Operation) -> int:
    """Bits of the constants behind a weight, its scales, tables and masks included."""
    seen: dict[int, int] = {}

    def collect(current: Operation) -> None:
        for var in current.outputs if current.op_type == "const" else _inputs(current):
            if var.op is not None and var.op.op_type.startswith("constexpr_"):
                collect(var.op)
            elif var.val is not None:
                seen[id(var)] = np.asarray(var.val).size * _bits(var)

    collect(operation)
    return sum(seen.values())


def _bits(var: Var) -> int:
    dtype = var.dtype
    return dtype.get_bitwidth() if hasattr(dtype, "get_bitwidth") else 8


def _inputs(operation: Operation) -> list[Var]:
    return [var for value in operation.inputs.values() for var in (value if isinstance(value, list | tuple) else [value])]


def _description(spec: Model_pb2.Model, function: str) -> Any:
    for one in spec.description.functions:
        if one.name == function:
            return one
    return spec.description


def _specs(features: Iterable[Any], examples: Sequence[TensorSpec] = ()) -> tuple[TensorSpec, ...]:
    found = []
    for index, feature in enumerate(features):
        array = feature.type.multiArrayType
        shape, dynamic = tuple(array.shape), _dynamic(array)
        if index < len(examples) and examples[index].dynamic:
            shape = examples[index].shape
            dynamic = dynamic or examples[index].dynamic
        found.append(TensorSpec(name=feature.name, dtype=_DTYPES[array.dataType], shape=shape, dynamic=dynamic))
    return tuple(found)


def _dynamic(array: Any) -> tuple[DynamicDim, ...]:
    return tuple(
        DynamicDim(dim=dim, low=bounds.lowerBound, high=bounds.upperBound)
        for dim, bounds in enumerate(array.shapeRange.sizeRanges)
        if bounds.lowerBound != bounds.upperBound
    )


def described(specs: Iterable[TensorSpec]) -> str:
    """``"image float32[1..8,3,32,32]"``."""
    return ", ".join(f"{spec.name} {spec.dtype}[{_shape(spec)}]" for spec in specs)


def _shape(spec: TensorSpec) -> str:
    ranges = {one.dim: f"{one.low}..{one.high}" for one in spec.dynamic}
    return ",".join(ranges.get(dim, str(size)) for dim, size in enumerate(spec.shape))
