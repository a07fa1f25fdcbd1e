"""Layers of a ``.tflite`` file that int8 activations would ruin. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgedeploy.exporters.tflite_graph import read_graphs
from edgedeploy.exporters.tflite_masks import Samples

_OPERATORS = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})
# Measured on a MiniLM sentence encoder: the six layers that cost 9 dB between them lie at -1 to 13 dB in their output,
# the thirty others at 22 dB and above.
_LEAST_TYPICAL_SQNR_DB = 16.0


@dataclass
class _Channels:
    """Range of a tensor, and the sum of squares of each of its channels (the last dimension)."""

    low: float
    high: float
    squares: NDArray[np.float64]
    count: int

    def typical_sqnr_db(self) -> float:
        """What int8 over the whole range leaves of the median channel: 10·log10(power / (step²/12))."""
        step = (self.high - self.low) / 255
        power = float(np.median(self.squares)) / self.count
        if step == 0 or power == 0:
            return float("inf")
        return 10 * float(np.log10(power / (step**2 / 12)))


def layers_with_outliers(content: bytes, samples: Samples) -> tuple[str, ...]:
    """Names of the output tensors of layers whose input or output has a few channels that dwarf the others.

    Such a range leaves the typical channel less than 16 dB above int8's rounding noise.
    """
    found: list[str] = []
    for graph in read_graphs(content):
        layers = [
            (source.index, operator.outputs[0])
            for operator in graph.operators
            if operator.operator in _OPERATORS and (source := operator.inputs[0]) is not None
        ]
        indices = {index for source, output in layers for index in (source, output.index)}
        for signature in graph.signatures:
            channels = _observe(content, signature, samples[signature], indices)
            found += [
                output.name
                for source, output in layers
                if min(channels[source].typical_sqnr_db(), channels[output.index].typical_sqnr_db()) < _LEAST_TYPICAL_SQNR_DB
            ]
    return tuple(found)


def _observe(
    content: bytes, signature: str, samples: Sequence[Mapping[str, NDArray[np.generic]]], indices: set[int]
) -> dict[int, _Channels]:
    # A delegate would keep the tensors inside to itself.
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = interpreter.get_signature_runner(signature)
    number = runner._subgraph_index  # noqa: SLF001 - the only place that tells it
    observed: dict[int, _Channels] = {}
    for sample in samples:
        runner(**sample)
        for index in indices:
            values = interpreter.get_tensor(index, number)
            values = values.reshape(-1, values.shape[-1] if values.ndim else 1).astype(np.float64)
            seen = observed.setdefault(index, _Channels(0.0, 0.0, np.zeros(values.shape[1]), 0))
            seen.low = min(seen.low, float(values.min()))
            seen.high = max(seen.high, float(values.max()))
            seen.squares = seen.squares + (values**2).sum(axis=0)
            seen.count += len(values)
    return observed
