"""ExecuTorch's OpenVINO delegate for Intel's (and AMD's) CPUs. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from executorch.backends.openvino.partitioner import OpenvinoPartitioner
from executorch.backends.openvino.quantizer.quantizer import OpenVINOQuantizer, QuantizationMode
from executorch.exir.backend.compile_spec_schema import CompileSpec
from torch.export import ExportedProgram

from edgedeploy.exporters.int8_scope import activations_fit_int8
from edgedeploy.exporters.pt2e import calibrated
from edgedeploy.exporters.state import module_to_quantize
from edgedeploy.exporters.tracing import Traced, export_program


def openvino_partitioner() -> OpenvinoPartitioner:
    """What hands to OpenVINO all that it converts, on the CPU."""
    return OpenvinoPartitioner([CompileSpec("device", b"CPU")])


def in_int8_for_openvino(traced: Traced) -> ExportedProgram:
    """The method in int8, as NNCF recommends it for convolutional networks, or for those that attend or normalise."""
    fits = activations_fit_int8(traced.program)
    quantizer = OpenVINOQuantizer(mode=QuantizationMode.INT8_MIXED if fits else QuantizationMode.INT8_TRANSFORMER)
    # OpenVINO's frontend makes one operator of a quantizer and its dequantizer, and packs the weights itself; it skips a
    # dequantizer that stands alone, and then stops at adding float32 to int8.
    converted = calibrated(module_to_quantize(traced.program), quantizer, traced, fold_weights=False)
    return export_program(converted, traced.example_inputs, traced.dynamic_shapes)
