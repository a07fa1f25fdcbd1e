"""What compression did to the weights, read back from the package. Imports torch and coremltools: load it when needed.

A Core ML program cannot be run away from a Mac; its constants can be decompressed anywhere.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import torch

from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml_graph import frozen_index
from edgedeploy.exporters.coreml_program import Converted
from edgedeploy.exporters.mlpackage import StoredWeight, constants

_SUFFIXES = ("_cast_fp16", "_to_fp16", "_quantized", "_palettized", "_sparsified")


class WeightFidelity(msgspec.Struct, frozen=True, kw_only=True):
    """How close a weight in the package is to PyTorch's: signal over noise, infinite where they are equal."""

    name: str
    sqnr_db: float


def weight_fidelity(
    converted: Converted, stored: Iterable[StoredWeight], quantized_from: Sequence[torch.Tensor] = ()
) -> tuple[WeightFidelity, ...]:
    """Every matrix (or kernel) of a package that the converted program knows, compared with its value there.

    Vectors are left out: biases and scales are never compressed.

    ``quantized_from`` are the floating weights behind a quantized program's frozen parameters.
    """
    originals = _originals(converted, quantized_from)
    names = _readable_names(converted)
    found = []
    for weight in stored:
        key = _plain(weight.name)
        if key not in names and weight.kind.startswith("float"):
            continue  # a mask or a table: float16 makes an infinity of the least float32, which is what is meant
        original = originals.get(key)
        if original is not None and original.ndim > 1 and original.shape == weight.value.shape:
            found.append(WeightFidelity(name=names.get(key, key), sqnr_db=sqnr_db(original, weight.value)))
    return tuple(found)


def sqnr_db(reference: np.ndarray[Any, Any], value: np.ndarray[Any, Any]) -> float:
    """Signal over noise in dB: infinite where they are equal, -infinite where the value is not finite."""
    expected, given = reference.astype(np.float64), value.astype(np.float64)
    noise = float(np.square(expected - given).sum())
    signal = float(np.square(expected).sum())
    if not np.isfinite(noise) or (signal == 0 and noise > 0):
        return -np.inf
    return np.inf if noise == 0 else 10 * float(np.log10(signal / noise))


def require(weights: Sequence[WeightFidelity], floor_db: float, precision: str) -> None:
    """Refuse weights that compression has ruined.

    Raises:
        ExportError: naming the worst one.
    """
    short = sorted((weight for weight in weights if weight.sqnr_db < floor_db), key=lambda weight: weight.sqnr_db)
    if short:
        raise ExportError(
            f"{len(short)} of {len(weights)} weights in the package are not what the model has",
            where=short[0].name,
            seen=f"{short[0].sqnr_db:.1f} dB of signal over noise; {precision} has at least {floor_db:.0f} dB where it works",
            next_step="choose a precision with more bits, or keep that layer's values in a smaller range",
        )


def described(weights: Sequence[WeightFidelity]) -> str:
    """``"worst 18.2 dB (layers.3.weight), median 20.1 dB, of 14 weights"``."""
    if not weights:
        return "no weight could be compared"
    worst = min(weights, key=lambda weight: weight.sqnr_db)
    median = statistics.median(weight.sqnr_db for weight in weights)
    return f"worst {_db(worst.sqnr_db)} ({worst.name}), median {_db(median)}, of {len(weights)} weights"


def _db(value: float) -> str:
    return "exact" if value == np.inf else f"{value:.1f} dB"


def _plain(name: str) -> str:
    """A constant's name without what passes and compression appended to it."""
    stripped = True
    while stripped:
        stripped = False
        for suffix in _SUFFIXES:
            if name.endswith(suffix):
                name, stripped = name.removesuffix(suffix), True
    return name


def _originals(converted: Converted, quantized_from: Sequence[torch.Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Floating weights by plain name: PyTorch's own where coremltools left them as they are, else coremltools' constant."""
    found = {_plain(one.name): one.value for one in constants(converted.model._mil_program, "main")}  # noqa: SLF001  the program is nowhere else
    for name, tensor in _parameters(converted).items():
        if name in found and found[name].shape == tuple(tensor.shape):
            found[name] = tensor.detach().float().numpy()
    for node in converted.program.graph.nodes:
        if node.op == "call_function" and str(node.target).startswith("quantized_decomposed.dequantize_per_channel"):
            index = frozen_index(node.args[0].name)
            if index is not None and index < len(quantized_from):
                found[node.name] = quantized_from[index].float().numpy()
    return found


def _parameters(converted: Converted) -> dict[str, torch.Tensor]:
    signature = converted.program.graph_signature
    state = converted.program.state_dict
    names = signature.inputs_to_parameters
    return {name: state[target] for name, target in names.items() if target in state}


def _readable_names(converted: Converted) -> Mapping[str, str]:
    """What the user calls the parameters behind the program's placeholders."""
    names = converted.program.graph_signature.inputs_to_parameters
    return {name: target.removeprefix("inner.") for name, target in names.items()}
