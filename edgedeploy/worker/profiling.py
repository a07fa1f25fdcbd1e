"""The profile job: load a model, trace it, and count what it is made of. Needs torch, and no SDK."""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.domain.profile import MethodProfile, ModelProfile
from edgedeploy.ports import Emit
from edgedeploy.source import LoadedMethod, LoadedModel
from edgedeploy.worker.job import Profiled, ProfileJob
from edgedeploy.worker.memory import rss_bytes
from edgedeploy.worker.opening import open_model

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import Node

    from edgedeploy.exporters.tracing import Traced


def profiled(job: ProfileJob, emit: Emit) -> Profiled:
    """What the job's model is made of. Cost: loading it, and ``torch.export``: seconds for hundreds of operators.

    Raises:
        EdgedeployError: of kinds Config, Model, Compress.
        ExportError: ``torch.export`` refuses the model: so would every lane.
        ModelError: it cannot be run on shapes alone.
    """
    opened = open_model(job, emit)
    dependencies = opened.close()
    loaded_rss_bytes = rss_bytes()
    emit("tracing with torch.export")
    profile = profile_of(opened.model, parameters=opened.parameters, loaded_rss_bytes=loaded_rss_bytes)
    return Profiled(profile=profile, dependencies=dependencies)


def profile_of(model: LoadedModel, *, parameters: int, loaded_rss_bytes: int) -> ModelProfile:
    """What a loaded model is made of."""
    from edgedeploy.exporters.tracing import trace
    from edgedeploy.worker.weight_kinds import states_of, weights_of

    traces = trace(model, "PyTorch")
    programs = [traced.program for traced in traces]
    states = [states_of(program) for program in programs]
    return ModelProfile(
        parameters=parameters,
        weights=weights_of(programs),
        state_bytes=max(sum(state.size_bytes for state in each) for each in states),
        states=tuple({state.name: state for each in states for state in each}.values()),
        methods=tuple(_method(method, traced, model.user_root) for method, traced in zip(model.methods, traces, strict=True)),
        loaded_rss_bytes=loaded_rss_bytes,
        torch=importlib.metadata.version("torch"),
    )


def _method(method: LoadedMethod, traced: Traced, user_root: str) -> MethodProfile:
    from edgedeploy.worker.operator_lines import operator_lines
    from edgedeploy.worker.shape_run import count
    from edgedeploy.worker.weight_kinds import operator_name

    counted = count(traced.program, method.example_inputs)
    calls = [node for node in traced.program.graph.nodes if str(node.target).startswith("aten.")]
    called = Counter(map(operator_name, calls))
    return MethodProfile(
        name=method.name,
        macs=counted.macs,
        operators=dict(called.most_common()),
        primitives=counted.primitives,
        steps=dict(counted.steps.most_common()),
        label_bytes=sum(map(_label_bytes, calls)) // max(1, len(calls)),
        activation_bytes=counted.activation_bytes,
        input_bytes=_bytes(method.example_inputs),
        output_bytes=sum(map(_bytes_of, traced.outputs)),
        golden_cases=len(method.golden_inputs),
        calibration_cases=len(method.calibration),
        inputs=traced.inputs,
        lines=operator_lines(traced.program, user_root),
    )


def _label_bytes(node: Node) -> int:
    """Of ``encoder.layer.0/linear``."""
    (*_, (path, _)) = (node.meta.get("nn_module_stack") or {"": ("", "")}).values()
    return len(path.removeprefix("inner").lstrip(".")) + 1 + len(node.name)


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _bytes_of(spec: TensorSpec) -> int:
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
