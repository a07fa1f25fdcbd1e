"""A model in 16-bit floats, as ``module.half()`` makes it, with what half precision breaks kept in float32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.overrides import TorchFunctionMode

from edgedeploy.exporters.tracing import Traced, export_program

# Sums of squares leave half's range, and ExecuTorch 1.5's kernel for layer_norm computes something else in half: a BERT came
# out as NaN, a LayerNorm of width 256 at 1 dB. In float32 they come out at 63 and 67 dB.
_IN_FLOAT32: frozenset[Callable[..., Any]] = frozenset(
    {
        F.layer_norm,
        F.group_norm,
        F.instance_norm,
        F.rms_norm,
        torch.layer_norm,
        torch.group_norm,
        torch.instance_norm,
        torch.rms_norm,
        torch.native_layer_norm,
        torch.native_group_norm,
    }
)


def in_half(traced: Traced) -> ExportedProgram:
    """The method in float16, with inputs and outputs as they were.

    Raises:
        RuntimeError: the model's own code mixes dtypes when it is in half precision.
    """
    module = _HalfInside(copy.deepcopy(traced.module).half())
    with _HalfButForNorms():
        return export_program(module, traced.example_inputs, traced.dynamic_shapes)


# Values of these are the same in half. Without a dtype they would be float32, and ExecuTorch does not mix the two.
_MADE_IN_HALF: frozenset[Callable[..., Any]] = frozenset({torch.zeros, torch.ones, torch.empty, torch.eye})


class _HalfInside(nn.Module):
    """Floats go in and come out in the dtype they have outside."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.training = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self.inner(*(value.half() if value.dtype == torch.float32 else value for value in inputs))
        return tuple(value.float() if value.dtype == torch.float16 else value for value in outputs)


class _HalfButForNorms(TorchFunctionMode):
    """While it is on, zeros and ones that forward makes (an LSTM's first state) are half; norms of half tensors are float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in _MADE_IN_HALF and named.get("dtype") is None:
            named["dtype"] = torch.float16
        halves = any(isinstance(value, Tensor) and value.dtype == torch.float16 for value in (*args, *named.values()))
        if func not in _IN_FLOAT32 or not halves:
            return func(*args, **named)
        result = func(*map(_widened, args), **{name: _widened(value) for name, value in named.items()})
        return result.half() if isinstance(result, Tensor) else tuple(value.half() for value in result)


def _widened(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value
