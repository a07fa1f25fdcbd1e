"""Constants that no operator reads any more. Imports the SDK: load it when it is needed."""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema


def drop_unread_constants(model: schema.ModelT) -> None:
    """Shrink constants that no operator reads any more to one zero: without data they could not be looked at."""
    read: set[int] = {0, *(entry.buffer for entry in model.metadata or ())}
    for graph in model.subgraphs:
        indices = {int(index) for operator in graph.operators for index in operator.inputs if index >= 0}
        read |= {graph.tensors[index].buffer for index in indices | {int(index) for index in graph.outputs}}
    unread = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.buffer not in read]
    element_bytes = {tensor.buffer: _element_bytes(model, tensor) for tensor in unread}
    for tensor in unread:
        if element_bytes[tensor.buffer]:
            tensor.shape = [1]
            model.buffers[tensor.buffer].data = np.zeros(element_bytes[tensor.buffer], np.uint8)


def _element_bytes(model: schema.ModelT, tensor: schema.TensorT) -> int:
    data = model.buffers[tensor.buffer].data
    elements = math.prod(tensor.shape) if tensor.shape is not None else 1
    return len(data) // elements if data is not None and elements else 0
