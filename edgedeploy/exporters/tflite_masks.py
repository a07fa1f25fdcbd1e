"""Attention masks that static quantization can hold. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgedeploy.exporters.tflite_graph import read_graphs

Samples = Mapping[str, Sequence[Mapping[str, NDArray[np.generic]]]]
"""Calibration inputs by signature, each a mapping from input names to arrays."""

# A score below this stands for minus infinity: models write -1e9, float16's or float32's lowest, or infinity itself.
_MASKED = -1e8
# exp(-16) is 1e-7: what a softmax leaves of a masked score, less than half a step of int16.
_MARGIN = 16.0


def with_finite_masks(content: bytes, samples: Samples) -> bytes:
    """The float model with the minus infinities in its constants replaced by a number that int8 can hold beside the scores.

    The quantizer leaves infinities out of the ranges that it calibrates. A mask of 0 and minus infinity then has the range
    zero, masks nothing, and every token attends to all others: a Llama came out at -1 dB, in int16 too. The new number lies
    below the scores by more than their whole range, as calibration has it: masked scores vanish in the softmax as before.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    masks = [buffer for buffer in _float_constants(model) if bool((buffer.data.view("<f4") < _MASKED).any())]
    if not masks:
        return content
    floor = np.float32(-(_widest_scores(content, samples) + _MARGIN))
    for buffer in masks:
        values = buffer.data.view("<f4").copy()
        values[values < _MASKED] = floor
        buffer.data = values.view(np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _float_constants(model: schema.ModelT) -> list[schema.BufferT]:
    indices = {t.buffer for graph in model.subgraphs for t in graph.tensors if t.type == schema.TensorType.FLOAT32}
    buffers = [model.buffers[index] for index in sorted(indices)]
    return [buffer for buffer in buffers if buffer.data is not None and len(buffer.data) > 0]


def _widest_scores(content: bytes, samples: Samples) -> float:
    """The largest range that the scores of any softmax take, masked ones left out."""
    widest = 0.0
    for graph in read_graphs(content):
        softmaxes = [operator.inputs[0] for operator in graph.operators if operator.operator == "SOFTMAX"]
        indices = {tensor.index for tensor in softmaxes if tensor is not None}
        for signature in graph.signatures:
            # A delegate would keep the tensors inside to itself.
            interpreter = Interpreter(
                model_content=content,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            runner = interpreter.get_signature_runner(signature)
            number = runner._subgraph_index  # noqa: SLF001 - the only place that tells it
            spans: dict[int, tuple[float, float]] = {}
            for sample in samples.get(signature, ()):
                runner(**sample)
                for index in indices:
                    scores = interpreter.get_tensor(index, number)
                    scores = scores[scores > _MASKED]
                    if scores.size:
                        low, high = spans.get(index, (np.inf, -np.inf))
                        spans[index] = (min(low, float(scores.min())), max(high, float(scores.max())))
            widest = max([widest, *(high - low for low, high in spans.values())])
    return widest
