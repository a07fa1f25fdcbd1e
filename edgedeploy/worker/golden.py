"""Golden inputs with PyTorch's answers: grouped by shape, and written in an artifact's own dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from edgedeploy.deploy.digest import entries_of
from edgedeploy.domain.artifact import Golden, TensorSpec
from edgedeploy.domain.release import FileEntry
from edgedeploy.errors import ModelError
from edgedeploy.source import LoadedMethod

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Golden inputs of the same shapes, with the answers to each."""

    inputs: tuple[tuple[Tensor, ...], ...]
    answers: tuple[tuple[Tensor, ...], ...]


def by_shape(method: LoadedMethod, answers: Sequence[tuple[Tensor, ...]]) -> tuple[Cases, ...]:
    """The method's golden inputs in groups of equal shapes, in the order in which each shape is first seen."""
    groups: dict[tuple[tuple[int, ...], ...], list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]] = {}
    for case, answer in zip(method.golden_inputs, answers, strict=True):
        groups.setdefault(_shapes(case) + _shapes(answer), []).append((case, answer))
    return tuple(
        Cases(inputs=tuple(case for case, _ in group), answers=tuple(answer for _, answer in group)) for group in groups.values()
    )


def write_golden(folder: Path, name: str, cases: Cases, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Golden:
    """Write inputs and answers below ``folder`` in the artifact's own dtypes (integers may be narrower, floats never are).

    Raises:
        ModelError: an integer does not fit into the artifact's dtype.
    """
    target = folder / "golden"
    target.mkdir(exist_ok=True)
    return Golden(
        cases=len(cases.inputs),
        input_shapes=_shapes(cases.inputs[0]),
        output_shapes=_shapes(cases.answers[0]),
        inputs=tuple(
            _write(target / f"{name}-input_{i}.bin", spec, [case[i] for case in cases.inputs]) for i, spec in enumerate(inputs)
        ),
        references=tuple(
            _write(target / f"{name}-reference_{i}.bin", spec, [case[i] for case in cases.answers])
            for i, spec in enumerate(outputs)
        ),
    )


def _shapes(tensors: Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(extent) for extent in tensor.shape) for tensor in tensors)


def in_dtype(spec: TensorSpec, tensor: Tensor) -> npt.NDArray[np.generic]:
    """The tensor's values in the dtype that the artifact declares, in C order.

    Raises:
        ModelError: an integer does not fit into it.
    """
    array = tensor.detach().cpu().numpy()
    converted = np.ascontiguousarray(array.astype(spec.dtype)).reshape(array.shape)  # the former makes scalars 1-D
    if np.issubdtype(converted.dtype, np.integer) and not np.array_equal(array, converted):
        raise ModelError(
            f"a value of {spec.name} does not fit into {spec.dtype}, which the artifact has there",
            where=spec.name,
            seen=f"from {array.min()} to {array.max()}",
            next_step="keep integers within 32 bits, or choose a lane with 64-bit inputs (ExecuTorch)",
        )
    return converted


def _write(file: Path, spec: TensorSpec, tensors: Sequence[Tensor]) -> FileEntry:
    file.write_bytes(b"".join(in_dtype(spec, tensor).tobytes() for tensor in tensors))
    (entry,) = entries_of(file)
    return msgspec.structs.replace(entry, path=f"{file.parent.name}/{file.name}")
