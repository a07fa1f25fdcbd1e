"""Names of tensors, which AI Edge Quantizer wants to be distinct. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections import Counter
from itertools import count

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils


def with_distinct_tensor_names(content: bytes) -> bytes:
    """The same file, whose tensors all have names of their own; signatures keep theirs.

    The converter calls the tensor behind an output ``logits`` as it does that behind an input ``logits_output``.
    """
    names = _names(schema.Model.GetRootAs(content))
    if all(total == 1 for total in names.values()):
        return content
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    # Inputs come first: outputs keep theirs, which tell where they come from.
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        if names[tensor.name] > 1:
            names[tensor.name] -= 1
            tensor.name = next(name for number in count(1) if (name := b"%s_%d" % (tensor.name, number)) not in names)
            names[tensor.name] = 1
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _names(model: schema.Model) -> Counter[bytes]:
    graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
    return Counter(graph.Tensors(index).Name() for graph in graphs for index in range(graph.TensorsLength()))
