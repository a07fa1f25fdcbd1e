"""An exported program as an ExecuTorch program, and what is in it. Imports the SDK: load it when it is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import executorch.kernels.quantized  # noqa: F401 - registers its kernels
import msgspec
import torch
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.backend.partitioner import Partitioner
from executorch.exir.lowered_backend_module import LoweredBackendModule
from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass
from executorch.exir.schema import ExecutionPlan, KernelCall, Tensor
from executorch.runtime import Runtime
from torch._export.pass_base import PassType
from torch.export import ExportedProgram

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.errors import ExportError, InternalError
from edgedeploy.exporters.diagnosis import find_line, unsupported_next_step
from edgedeploy.exporters.ethos_u_payload import block_sizes
from edgedeploy.exporters.executorch_operators import WhatRuns, what_runs
from edgedeploy.exporters.operator_counts import bounded
from edgedeploy.exporters.signature import dtype_name
from edgedeploy.exporters.state import changed_buffers
from edgedeploy.exporters.tracing import Traced


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """The bytes of a ``.pte``; of each method the execution plan and the graph it was made of."""

    buffer: bytes
    plans: Mapping[str, ExecutionPlan]
    programs: Mapping[str, ExportedProgram]


def lower(
    programs: dict[str, ExportedProgram],
    partitioner: list[Partitioner],
    *,
    constants: Mapping[str, object] | None = None,
    config: ExecutorchBackendConfig | None = None,
) -> Lowered:
    """Lower methods into one program; what the partitioner takes goes to its backend, the rest to ExecuTorch's own kernels.

    ``constants`` become methods that return them. State begins with the values it has: ExecuTorch by itself leaves it at zero.
    """
    edge = to_edge_transform_and_lower(programs, partitioner=partitioner, constant_methods=dict(constants or {}))
    started = [name for program in programs.values() for name in _states_with_values(program)]
    passes: list[PassType] = [InitializedMutableBufferPass(started)] if started else []
    executorch = edge.to_executorch(config or ExecutorchBackendConfig(passes=passes))
    return Lowered(
        buffer=executorch.buffer,
        plans={plan.name: plan for plan in executorch.executorch_program.execution_plan if plan.name in programs},
        programs={name: executorch.exported_program(name) for name in programs},
    )


def _states_with_values(program: ExportedProgram) -> list[str]:
    """Names of the placeholders of buffers that a call changes, and that do not begin as zeros."""
    changed = changed_buffers(program)
    values = dict(program.named_buffers())
    specs = program.graph_signature.input_specs
    return [spec.arg.name for spec in specs if spec.target in changed and bool(values[spec.target].any())]


def what_methods_run(lowered: Lowered, user_root: str) -> list[WhatRuns]:
    """What runs where, method by method."""
    return [
        what_runs(program, lowered.plans[name], method=name, user_root=user_root) for name, program in lowered.programs.items()
    ]


def require_bounds(traces: Sequence[Traced]) -> None:
    """Refuse dimensions that move without an upper bound: ExecuTorch would plan memory for the example, and take no more.

    Raises:
        ExportError: naming the first.
    """
    for traced in traces:
        for spec in traced.inputs:
            for dim in spec.dynamic:
                if dim.high is None:
                    raise ExportError(
                        "ExecuTorch needs an upper bound for a dimension that moves",
                        where=f"dimension {dim.dim} of {spec.name}",
                        seen=f"{dim.low} and more",
                        next_step="give it in dynamic_shapes: torch.export.Dim('length', min=1, max=512)",
                    )


def require_kernels(lowered: Lowered, traced: Traced, user_root: str) -> None:
    """Refuse a method that calls an operator for which ExecuTorch's kernel libraries have nothing.

    The SDK writes such a program without a word, and it fails when it is loaded on the device.

    Raises:
        ExportError: naming the operator and the user's line.
    """
    registered = Runtime.get().operator_registry.operator_names
    for operator in lowered.plans[traced.name].operators:
        full_name = operator.name + (f".{operator.overload}" if operator.overload else "")
        if full_name not in registered:
            plain_name = operator.name.replace("::", ".")
            line = find_line(plain_name, traced.program, user_root)
            raise ExportError(
                f"ExecuTorch cannot export operator {plain_name}",
                where=str(line or ""),
                seen=f"no kernel {full_name} in ExecuTorch's libraries",
                next_step=unsupported_next_step("ExecuTorch"),
            )


def declared_inputs(lowered: Lowered, traced: Traced) -> tuple[TensorSpec, ...]:
    """The inputs that a method declares, under the names of forward's parameters (a ``.pte`` has no names)."""
    plan = lowered.plans[traced.name]
    return _declared(plan, plan.inputs, traced.inputs)


def declared_outputs(lowered: Lowered, traced: Traced) -> tuple[TensorSpec, ...]:
    """The outputs that a method declares, under the names that the traced model gave them."""
    plan = lowered.plans[traced.name]
    return _declared(plan, plan.outputs, traced.outputs)


def inspection(lowered: Lowered) -> dict[str, str]:
    """Facts read back from the program: its delegates, and the kernels that it calls beside them."""
    plans = lowered.plans.values()
    calls = Counter(
        plan.operators[instruction.instr_args.op_index].name.removeprefix("aten::")
        for plan in plans
        for chain in plan.chains
        for instruction in chain.instructions
        if isinstance(instruction.instr_args, KernelCall)
    )
    facts = {
        "backends": ", ".join(sorted({delegate.id for plan in plans for delegate in plan.delegates})) or "none",
        "delegates": str(sum(len(plan.delegates) for plan in plans)),
        "undelegated operators": str(calls.total()),
        "undelegated": bounded(calls) or "none",
    }
    return facts | _npu_memory(lowered)


def _npu_memory(lowered: Lowered) -> dict[str, str]:
    """What an Ethos-U needs of memory. One delegate runs at a time: scratch memory is that of the largest."""
    modules = (module for program in lowered.programs.values() for module in program.graph_module.modules())
    parts = [block_sizes(module.processed_bytes) for module in modules if isinstance(module, LoweredBackendModule)]
    found = [part for part in parts if part]
    if not found:
        return {}
    return {
        "numeric_check": "not possible without the NPU",
        "NPU commands bytes": str(sum(part["commands"] for part in found)),
        "NPU weights bytes": str(sum(part["weights"] for part in found)),
        "NPU scratch bytes": str(max(part["scratch"] for part in found)),
    }


def _declared(plan: ExecutionPlan, indices: Sequence[int], traced: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    values = [plan.values[index].val for index in indices]
    if len(values) != len(traced) or not all(isinstance(value, Tensor) for value in values):
        raise InternalError(
            "the exported program's signature is not the model's",
            seen=f"{len(values)} values in the program, {len(traced)} in the model",
            next_step="report it with the model",
        )
    return tuple(_spec(spec, value) for spec, value in zip(traced, values, strict=True) if isinstance(value, Tensor))


def _spec(traced: TensorSpec, value: Tensor) -> TensorSpec:
    # ScalarType numbers its members as ATen does, under ATen's names (FLOAT, LONG, …).
    dtype = dtype_name(_TORCH_DTYPES[value.scalar_type.name], traced.name)
    # Of a dynamic dimension the program knows the upper bound; the shape is that of the example.
    shape = traced.shape if traced.dynamic else tuple(value.sizes)
    return msgspec.structs.replace(traced, dtype=dtype, shape=shape)


_TORCH_DTYPES = {
    "BYTE": torch.uint8,
    "CHAR": torch.int8,
    "SHORT": torch.int16,
    "INT": torch.int32,
    "LONG": torch.int64,
    "HALF": torch.float16,
    "FLOAT": torch.float32,
    "DOUBLE": torch.float64,
    "BOOL": torch.bool,
    "BFLOAT16": torch.bfloat16,
    "COMPLEX32": torch.complex32,
    "COMPLEX64": torch.complex64,
    "COMPLEX128": torch.complex128,
}
