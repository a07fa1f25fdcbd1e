"""Smaller weights in a Core ML program. Imports coremltools: load it when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import coremltools.optimize.coreml as cto
import numpy as np

from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml_fidelity import sqnr_db
from edgedeploy.exporters.coreml_precisions import GROUPED_TABLES_FIRST_IOS, SCHEMES, Deployment

if TYPE_CHECKING:
    from coremltools.models import MLModel

# Below these many elements, scales and tables weigh more than is won.
_SMALLEST_LINEAR = 256
_SMALLEST_TABLE = 1024
# From this share of zeros on, storing where the others are takes less than storing the zeros (int8: one bit of eight).
_SPARSE_ENOUGH = 0.3
# A row with one number far above the others (some embeddings have them) loses the others to it, and stays float16.
_LEAST_SQNR_DB = SCHEMES["int8-weights"].weight_floor_db
_BLOCK = 32
_LARGEST_WEIGHT = 1e4
_GROUP = 16


def compressed(model: MLModel, precision: str, system: Deployment) -> MLModel:
    """The model with its weights in the form that a precision stands for; float and int8 models come back as they are.

    Raises:
        ExportError: a sparse precision, and no weight is sparse.
    """
    if precision.startswith("sparse-"):
        model = _without_zeros(model)
    match precision:
        case "int8" | "int8-static" | "int8-weights":
            return _int8(model)
        case "int4-weights":
            # Weights that do not divide into blocks stay whole there: they take int8.
            return _int8(cto.linear_quantize_weights(model, _linear(model, "int4", "per_block")))
        case "palette4" | "palette6":
            return cto.palettize_weights(model, _tables(model, 4 if precision == "palette4" else 6, grouped=_has_groups(system)))
        case "sparse-int8":
            return _int8(cto.linear_quantize_weights(model, _linear(model, "int8", "per_channel"), joint_compression=True))
        case "sparse-palette4":
            return cto.palettize_weights(model, _tables(model, 4, grouped=False), joint_compression=True)
    return model


def _int8(model: MLModel) -> MLModel:
    config = _linear(model, "int8", "per_channel")
    for name, value in _floats(model).items():
        if value.ndim > 1 and value.size >= _SMALLEST_LINEAR and _int8_sqnr_db(value) < _LEAST_SQNR_DB:
            config.set_op_name(name, None)
    return cto.linear_quantize_weights(model, config)


def _int8_sqnr_db(weight: np.ndarray[Any, Any]) -> float:
    """Signal over noise of a weight that is rounded to a scale per row."""
    rows = weight.reshape(weight.shape[0], -1).astype(np.float32)
    scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
    return sqnr_db(rows, np.round(rows / scale) * scale)


def _linear(model: MLModel, dtype: str, granularity: str) -> cto.OptimizationConfig:
    return cto.OptimizationConfig(
        cto.OpLinearQuantizerConfig(
            mode="linear_symmetric",
            dtype=dtype,
            granularity=granularity,
            block_size=_BLOCK,
            weight_threshold=_SMALLEST_LINEAR,
        ),
        op_name_configs=_left_alone(model),
    )


def _has_groups(system: Deployment) -> bool:
    return system.ios >= GROUPED_TABLES_FIRST_IOS


def _tables(model: MLModel, bits: int, *, grouped: bool) -> cto.OptimizationConfig:
    """One table per 16 channels, or one per weight."""
    return cto.OptimizationConfig(
        cto.OpPalettizerConfig(
            mode="kmeans",
            nbits=bits,
            granularity="per_grouped_channel" if grouped else "per_tensor",
            group_size=_GROUP,
            weight_threshold=_SMALLEST_TABLE,
        ),
        op_name_configs=_left_alone(model),
    )


def _left_alone(model: MLModel) -> dict[str, None]:
    """Constants that are no weights but masks: among their huge or infinite numbers, a scale would be infinite too."""
    return {name: None for name, value in _floats(model).items() if value.size and not np.abs(value).max() < _LARGEST_WEIGHT}


def _floats(model: MLModel) -> dict[str, np.ndarray[Any, Any]]:
    operations = model._mil_program.functions["main"].operations  # noqa: SLF001  the program is nowhere else
    values = {one.name: one.outputs[0].val for one in operations if one.op_type == "const"}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}


def _without_zeros(model: MLModel) -> MLModel:
    config = cto.OpThresholdPrunerConfig(
        threshold=1e-12, minimum_sparsity_percentile=_SPARSE_ENOUGH, weight_threshold=_SMALLEST_LINEAR
    )
    sparse = cto.prune_weights(model, cto.OptimizationConfig(config))
    operations = sparse._mil_program.functions["main"].operations  # noqa: SLF001  the program is nowhere else
    if not any(operation.op_type == "constexpr_sparse_to_dense" for operation in operations):
        raise ExportError(
            "the model has no sparse weights to store without their zeros",
            seen=f"no weight is zero in more than {_SPARSE_ENOUGH:.0%} of its elements",
            next_step='add compress = [{ use = "magnitude", settings = { sparsity = 0.6 } }], or choose a dense precision',
        )
    return sparse
