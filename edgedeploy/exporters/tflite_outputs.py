"""Outputs that nothing else in the graph reads. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils


def with_outputs_apart(content: bytes) -> bytes:
    """The float model with a copy, by ``maximum(x, x)``, of every output that operators read, too.

    AI Edge Quantizer chooses one type for a tensor. An output that is to stay in float32, and is read by a layer in int8,
    came out as int16, or in a file that the engine refuses.
    """
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    found = False
    for number, graph in enumerate(model.subgraphs):
        read = {int(index) for operator in graph.operators for index in operator.inputs}
        for place, output in enumerate(graph.outputs):
            if int(output) in read and graph.tensors[output].type == schema.TensorType.FLOAT32:
                graph.outputs[place] = _copy(model, number, int(output))
                found = True
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)) if found else content


def _copy(model: schema.ModelT, number: int, output: int) -> int:
    """Add the copy to the graph and to the signatures; returns its index."""
    graph = model.subgraphs[number]
    original = graph.tensors[output]
    tensor = schema.TensorT()
    tensor.name = original.name + b"/out"
    tensor.type = original.type
    tensor.shape = original.shape
    tensor.shapeSignature = original.shapeSignature
    tensor.hasRank = original.hasRank
    tensor.buffer = 0
    graph.tensors.append(tensor)
    copied = len(graph.tensors) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex = _maximum(model)
    operator.inputs = [output, output]
    operator.outputs = [copied]
    operator.builtinOptionsType = schema.BuiltinOptions.MaximumMinimumOptions
    operator.builtinOptions = schema.MaximumMinimumOptionsT()
    graph.operators.append(operator)
    for signature in model.signatureDefs or ():
        for declared in signature.outputs if signature.subgraphIndex == number else ():
            if declared.tensorIndex == output:
                declared.tensorIndex = copied
    return copied


def _maximum(model: schema.ModelT) -> int:
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == schema.BuiltinOperator.MAXIMUM:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MAXIMUM
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def with_outputs_open(content: bytes, original: bytes) -> bytes:
    """The quantized model with outputs whose sizes move in ``original`` declared so: those behind a conversion are not."""
    declared = _open_outputs(schema.Model.GetRootAs(original))
    if not declared:
        return content
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for signature in model.signatureDefs:
        for output in signature.outputs:
            tensor = model.subgraphs[signature.subgraphIndex].tensors[output.tensorIndex]
            tensor.shapeSignature = declared.get((signature.signatureKey, output.name))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _open_outputs(model: schema.Model) -> dict[tuple[bytes, bytes], list[int]]:
    """By the names of the signature and of the output, shapes with -1 for what moves."""
    shapes = {}
    for signature in map(model.SignatureDefs, range(model.SignatureDefsLength())):
        graph = model.Subgraphs(signature.SubgraphIndex())
        for output in map(signature.Outputs, range(signature.OutputsLength())):
            tensor = graph.Tensors(output.TensorIndex())
            shape = [tensor.ShapeSignature(dim) for dim in range(tensor.ShapeSignatureLength())]
            if -1 in shape:
                shapes[signature.SignatureKey(), output.Name()] = shape
    return shapes
