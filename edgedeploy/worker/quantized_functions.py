"""Functions on quantized tensors, and what each stands for in float. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgedeploy.errors import ModelError

_Function = Callable[..., object]


class FloatArithmetic(TorchFunctionMode):
    """While it is entered, functions that make, take or give quantized tensors compute in float.

    ``replaced`` says whether one was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced = False

    def __torch_function__(
        self,
        func: _Function,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call ``func``, or what stands for it.

        Raises:
            ModelError: a function of PyTorch's quantized library that is not in the table.
        """
        name = _name(func)
        stand_in = _FLOAT_FORMS.get(name)
        if stand_in is not None:
            self.replaced = True
            return stand_in(*args, **(kwargs or {}))
        if name.startswith("quantized."):
            raise ModelError(
                f"torch.ops.{name} is called in forward, and edgedeploy knows no float form of it",
                seen=name,
                next_step="give the float model: int8 lanes quantize it",
            )
        return func(*args, **(kwargs or {}))


def _name(func: _Function) -> str:
    """``quantized.add`` for ``torch.ops.quantized.add`` and its overloads, the bare name for PyTorch's own functions."""
    if isinstance(func, torch._ops.OpOverload):  # noqa: SLF001 - the type has no public name
        func = func.overloadpacket
    if isinstance(func, torch._ops.OpOverloadPacket):  # noqa: SLF001
        return str(func)
    return getattr(func, "__name__", "")


def _first(tensor: Tensor, *_: object, **__: object) -> Tensor:
    return tensor


def _dequantize(tensor: Tensor | Sequence[Tensor]) -> object:
    return tensor


def _cat(tensors: list[Tensor], dim: int = 0, *_: object, **__: object) -> Tensor:
    return torch.cat(tensors, dim)


# Scale and zero point, which come last, are of no use to a float function.
def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> _Function:
    return lambda a, b, *_, **__: function(a, b)


def _unary(function: Callable[[Tensor], Tensor]) -> _Function:
    return lambda a, *_, **__: function(a)


_FLOAT_FORMS: dict[str, _Function] = {
    "quantize_per_tensor": _first,
    "quantize_per_tensor_dynamic": _first,
    "quantize_per_channel": _first,
    "dequantize": _dequantize,
    "quantized.add": _binary(torch.add),
    "quantized.add_scalar": _binary(torch.add),
    "quantized.add_relu": _binary(lambda a, b: torch.relu(a + b)),
    "quantized.add_scalar_relu": _binary(lambda a, b: torch.relu(a + b)),
    "quantized.mul": _binary(torch.mul),
    "quantized.mul_scalar": _binary(torch.mul),
    "quantized.mul_relu": _binary(lambda a, b: torch.relu(a * b)),
    "quantized.mul_scalar_relu": _binary(lambda a, b: torch.relu(a * b)),
    "quantized.matmul": _binary(torch.matmul),
    "quantized.cat": _cat,
    "quantized.cat_relu": lambda *args, **named: torch.relu(_cat(*args, **named)),
    "quantized.relu6": _unary(functional.relu6),
    "quantized.hardswish": _unary(functional.hardswish),
    "quantized.sigmoid": _unary(torch.sigmoid),
    "quantized.leaky_relu": lambda x, slope, *_, **__: functional.leaky_relu(x, slope),
    "quantized.elu": lambda x, _scale, _zero_point, alpha=1.0, *_, **__: functional.elu(x, alpha),
    "quantized.softmax": lambda x, dim, *_, **__: torch.softmax(x, dim),
    "quantized.layer_norm": lambda x, shape, weight, bias, eps, *_, **__: functional.layer_norm(x, shape, weight, bias, eps),
}
