"""Translations of operators that coremltools 9.0 does not have, or not for ``torch.export``. Importing adds them.

This is coremltools' own way of being extended (``register_torch_op``); each becomes one or few operators of Core ML.
"""

from __future__ import annotations

from typing import Any

from coremltools.converters.mil import Builder as mb  # noqa: N813  coremltools' own name for it
from coremltools.converters.mil.frontend.torch import ops
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op

_REDUCTIONS = {"amax": "max", "amin": "min", "prod": "mul", "sum": "add"}


# ``Any``: coremltools has no type hints.
@register_torch_op(torch_alias=["lstm.input"], override=True)  # type: ignore[untyped-decorator]
def lstm(context: Any, node: Any) -> None:
    """One ``lstm`` a layer. Without it, PyTorch unrolls the sequence into thousands of operators."""
    _with_several_outputs(context, node, _LSTM, 3)


@register_torch_op(torch_alias=["gru.input"], override=True)  # type: ignore[untyped-decorator]
def gru(context: Any, node: Any) -> None:
    """One loop a layer."""
    _with_several_outputs(context, node, _GRU, 2)


@register_torch_op(torch_alias=["prod.dim_int", "prod.default"])  # type: ignore[untyped-decorator]
def prod(context: Any, node: Any) -> None:
    """The product over one dimension, or over all."""
    inputs = [context[name] if isinstance(name, str) else name for name in node.inputs]
    axes = [_number(inputs[1])] if len(inputs) > 1 else None
    keep = bool(_number(inputs[2])) if len(inputs) > 2 else False  # noqa: PLR2004  the third argument
    context.add(mb.reduce_prod(x=inputs[0], axes=axes, keep_dims=keep, name=node.name))


@register_torch_op(torch_alias=["scatter_reduce.two"])  # type: ignore[untyped-decorator]
def scatter_reduce(context: Any, node: Any) -> None:
    """Scattered values combined with what is there (``include_self``)."""
    x, dimension, indices, updates, reduction = node.inputs
    context.add(
        mb.scatter_along_axis(
            data=context[x],
            indices=context[indices],
            updates=context[updates],
            axis=int(dimension),
            mode=_REDUCTIONS[reduction],
            name=node.name,
        )
    )


_LSTM, _GRU = (ops.lstm, ops.gru)


def _with_several_outputs(context: Any, node: Any, translate: Any, count: int) -> None:
    """Call a translation that wants a name for every output; ``torch.export`` has one for all of them."""
    name = node.name
    node.outputs = [f"{name}_output_{index}" for index in range(count)]
    translate(context, node)
    context.add(tuple(context[output] for output in node.outputs), torch_name=name)


def _number(value: Any) -> int:
    return int(getattr(value, "val", value))
