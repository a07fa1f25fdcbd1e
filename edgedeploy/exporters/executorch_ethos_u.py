"""ExecuTorch's Ethos-U delegate: int8 by Arm's quantizer, compiled by Vela. Imports the SDK: load it when it is needed."""

from __future__ import annotations

import numpy as np
import torch
from executorch.backends.arm.ethosu import EthosUCompileSpec, EthosUPartitioner
from executorch.backends.arm.quantizer import EthosUQuantizer, get_symmetric_quantization_config
from torch.export import ExportedProgram

from edgedeploy.agreement import compare
from edgedeploy.domain.measurement import Agreement
from edgedeploy.errors import ExportError
from edgedeploy.exporters.pt2e import calibrated
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.exporters.state import module_to_quantize
from edgedeploy.exporters.tracing import Traced, export_program
from edgedeploy.ports import ExportRequest


def ethos_u_partitioner(request: ExportRequest) -> EthosUPartitioner:
    """What hands to the NPU all that it computes. Each part is compiled by Vela.

    Raises:
        ExportError: the target names no NPU.
    """
    return EthosUPartitioner(_compile_spec(request))


def in_int8_for_ethos_u(traced: Traced, request: ExportRequest) -> tuple[ExportedProgram, Agreement]:
    """The method in int8 as the target's NPU has it, and how close it still is to PyTorch on the calibration inputs.

    That is computed by PyTorch, before Arm's compilers: the file itself runs on an NPU alone.

    Raises:
        ExportError: the target names no NPU.
    """
    quantizer = EthosUQuantizer(_compile_spec(request))
    quantizer.set_global(get_symmetric_quantization_config())
    # Arm's passes do not know the module that checks the shapes of inputs.
    converted = calibrated(module_to_quantize(traced.program, check_guards=False), quantizer, traced)
    agreement = compare(_outputs(converted, traced), _outputs(traced.module, traced))
    return export_program(converted, traced.example_inputs, traced.dynamic_shapes), agreement


def _compile_spec(request: ExportRequest) -> EthosUCompileSpec:
    npu = request.ethos_u
    if npu is None:
        raise ExportError(
            "Vela compiles for one NPU, and the target names none",
            where=request.lane.id,
            next_step='add [ethos_u] with config = "ethos-u55-128", or the one it has, to the target file',
        )
    return EthosUCompileSpec(npu.config, system_config=npu.system_config or None, memory_mode=npu.memory_mode or None)


def _outputs(module: torch.nn.Module, traced: Traced) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    with torch.no_grad():
        cases = [flatten_outputs(module(*batch)) for batch in traced.calibration]
    return [np.stack([value.numpy() for value in values]) for values in zip(*cases, strict=True)]
