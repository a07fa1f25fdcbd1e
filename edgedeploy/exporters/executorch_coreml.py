"""ExecuTorch's Core ML delegate. Imports the SDK: load it when it is needed."""

from __future__ import annotations

import coremltools as ct
from executorch.backends.apple.coreml.compiler import CoreMLBackend
from executorch.backends.apple.coreml.partition import CoreMLPartitioner

from edgedeploy.exporters.coreml_precisions import deployment, require_precision, require_states
from edgedeploy.exporters.state import changed_buffers
from edgedeploy.exporters.tracing import Traced
from edgedeploy.ports import ExportRequest

_UNITS = {
    "all": ct.ComputeUnit.ALL,
    "cpu-only": ct.ComputeUnit.CPU_ONLY,
    "cpu-and-gpu": ct.ComputeUnit.CPU_AND_GPU,
    "cpu-and-ne": ct.ComputeUnit.CPU_AND_NE,
}


def require_system(traced: Traced, request: ExportRequest) -> None:
    """Refuse what the target's system does not have.

    Raises:
        ExportError: a system older than ML programs, 4-bit weights or states.
    """
    system = deployment(request.os, request.min_os)
    require_precision(system, request.lane.precision, instead="int8-weights")
    if changed_buffers(traced.program):
        require_states(system)


def coreml_partitioner(request: ExportRequest) -> CoreMLPartitioner:
    """What hands to Core ML all that it takes: for the target's system, compute units, and the lane's weights.

    Raises:
        ExportError: a system older than ML programs.
    """
    precision = request.lane.precision
    return CoreMLPartitioner(
        compile_specs=CoreMLBackend.generate_compile_specs(
            minimum_deployment_target=ct.target[deployment(request.os, request.min_os).target_name],
            compute_precision=ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16,
            compute_unit=_UNITS[request.compute_units],
            op_linear_quantizer_config=_WEIGHTS.get(precision),
        )
    )


# The keys of coremltools.optimize.coreml.OpLinearQuantizerConfig: the delegate makes one of them.
_WEIGHTS: dict[str, dict[str, str | int]] = {
    "int8-weights": {"mode": "linear_symmetric", "dtype": "int8", "granularity": "per_channel"},
    "int4-weights": {"mode": "linear_symmetric", "dtype": "int4", "granularity": "per_block", "block_size": 32},
}
