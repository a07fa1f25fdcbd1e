"""A traced model as a Core ML program. Imports coremltools: load it when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np

from edgedeploy.errors import ExportError
from edgedeploy.exporters import coreml_operators_added as _added  # noqa: F401  importing it is its effect
from edgedeploy.exporters.coreml_graph import prepared
from edgedeploy.exporters.tracing import Traced

if TYPE_CHECKING:
    from coremltools.models import MLModel

_DEFAULT_TARGET = "iOS17"
_PREFIXES = {"ios": "iOS", "macos": "macOS"}
# The first systems that run ML programs (coremltools refuses older ones): iOS 15 and macOS 12.
_OLDEST_MAJOR = {"ios": 15, "macos": 12}

# The types that Core ML has for inputs and outputs; PyTorch's others become the nearest of them.
_IO_DTYPES = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float32,
    "int64": np.int32,
    "int32": np.int32,
    "int16": np.int32,
    "int8": np.int32,
    "uint8": np.int32,
    "bool": np.int32,
}


def deployment_target(os: str, min_os: str) -> str:
    """The name of coremltools' minimum deployment target: ``iOS17`` for ("ios", "17.2"), and where nothing is said.

    A version newer than coremltools knows gives the newest that it does know.

    Raises:
        ExportError: a ``min_os`` older than ML programs.
    """
    major_text = min_os.partition(".")[0]
    if os not in _PREFIXES or not major_text.isdigit():
        return _DEFAULT_TARGET
    major = int(major_text)
    if major < _OLDEST_MAJOR[os]:
        raise ExportError(
            f"Core ML programs do not run on {_PREFIXES[os]} {min_os}",
            where="min_os",
            seen=min_os,
            next_step=f"ask for {_PREFIXES[os]} {_OLDEST_MAJOR[os]} or newer in the target",
        )
    known: dict[int, str] = {
        int(name.removeprefix(_PREFIXES[os])): name
        for name in ct.target.__members__
        if name.removeprefix(_PREFIXES[os]).isdigit()
    }
    return known[max(version for version in known if version <= major)]


def convert(traced: Traced, *, target_name: str, half_precision: bool) -> MLModel:
    """Convert for the deployment target, computing in float16 or float32; inputs and outputs stay float32."""
    precision = ct.precision.FLOAT16 if half_precision else ct.precision.FLOAT32
    return ct.convert(
        prepared(traced.program),
        convert_to="mlprogram",
        minimum_deployment_target=ct.target[target_name],
        compute_precision=precision,
        inputs=[ct.TensorType(name=spec.name, shape=spec.shape or (1,), dtype=_IO_DTYPES[spec.dtype]) for spec in traced.inputs],
        # Without a dtype, an output would come out in the precision of the computation.
        outputs=[ct.TensorType(name=spec.name, dtype=_IO_DTYPES[spec.dtype]) for spec in traced.outputs],
    )


def quantize_weights(model: MLModel) -> MLModel:
    """The model with its weights in int8, one scale per channel."""
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8"))
    return cto.linear_quantize_weights(model, config=config)
