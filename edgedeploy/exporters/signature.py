"""What goes into a model and comes out of it, in one order that every format and every runner keeps."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast, get_args

from edgedeploy.domain.artifact import DType, DynamicDim, TensorSpec
from edgedeploy.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_DTYPES: frozenset[str] = frozenset(get_args(DType))


def flatten_outputs(output: object) -> tuple[Tensor, ...]:
    """Every tensor of a model's output, in the order in which exported artifacts give them.

    Tuples, lists, dicts (in their own order), named tuples, dataclasses and Hugging Face's ``ModelOutput`` may be
    nested in each other. None is left out.

    Raises:
        ModelError: the output holds something else, or no tensor at all.
    """
    return tuple(tensor for _, tensor in _named_outputs(output))


def with_tensors(output: object, tensors: Iterator[Tensor]) -> object:
    """The same structure as ``output`` with other tensors, which are in :func:`flatten_outputs`'s order."""
    import torch
    from torch.utils import _pytree as pytree

    if output is None:
        return None
    if isinstance(output, torch.Tensor):
        return next(tensors)
    if not pytree.tree_is_leaf(output):
        parts, structure = pytree.tree_flatten(output, is_leaf=lambda inner: inner is not output)
        return pytree.tree_unflatten([with_tensors(part, tensors) for part in parts], structure)
    twin = copy.copy(output)  # a dataclass, for flatten_outputs refuses all else
    for field in dataclasses.fields(twin):  # type: ignore[arg-type]
        object.__setattr__(twin, field.name, with_tensors(getattr(output, field.name), tensors))
    return twin


def output_names(output: object) -> tuple[str, ...]:
    """Names for :func:`flatten_outputs`: keys and field names if there are any, else ``output_<i>``; no two alike."""
    names = []
    for index, (path, _) in enumerate(_named_outputs(output)):
        name = _identifier("_".join(path)) if path else f"output_{index}"
        names.append(name)
    return _distinct(names)


def input_names(module: nn.Module, count: int) -> tuple[str, ...]:
    """Names of the first ``count`` positional parameters of ``forward``; ``input_<i>`` where it takes ``*args``."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind in kinds][:count]
    names += [f"input_{index}" for index in range(len(names), count)]
    return _distinct([_identifier(name) for name in names])


def tensor_spec(name: str, tensor: Tensor, *, dynamic: tuple[DynamicDim, ...] = ()) -> TensorSpec:
    """The dtype and shape of a tensor under a name.

    Raises:
        ModelError: a dtype that no runner takes (bfloat16, complex).
    """
    shape = tuple(int(extent) for extent in tensor.shape)
    return TensorSpec(name=name, dtype=dtype_name(tensor.dtype, name), shape=shape, dynamic=dynamic)


def dtype_name(dtype: torch.dtype | str, tensor_name: str) -> DType:
    """``float32`` for ``torch.float32`` and so on.

    Raises:
        ModelError: a dtype that no runner takes (bfloat16, complex).
    """
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ModelError(
            f"a model's input or output has dtype {name}",
            where=tensor_name,
            seen=name,
            next_step=f"convert it in forward to one of {', '.join(sorted(_DTYPES))}",
        )
    return cast("DType", name)


def _named_outputs(output: object) -> list[tuple[tuple[str, ...], Tensor]]:
    named = list(_walk(output, ()))
    if not named:
        raise ModelError(
            "the model returns no tensor",
            where="output of forward",
            seen=type(output).__name__,
            next_step="return a tensor, or a tuple, list, dict or dataclass of tensors",
        )
    return named


def _walk(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    import torch
    from torch.utils import _pytree as pytree

    if value is None:
        return
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if not pytree.tree_is_leaf(value):
        for keys, leaf in pytree.tree_flatten_with_path(value, is_leaf=lambda inner: inner is not value)[0]:
            yield from _walk(leaf, path + tuple(step for key in keys if (step := _step(key))))
        return
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _walk(getattr(value, field.name), (*path, field.name))
        return
    raise ModelError(
        f"the model returns a {type(value).__name__} where a tensor is expected",
        where="output of forward" + (f": {'.'.join(path)}" if path else ""),
        seen=repr(value)[:100],
        next_step="return only tensors; leave constants and settings out of the output",
    )


def _step(key: object) -> str:
    """A dict's key or a dataclass's field as a name; empty for a position in a list or tuple."""
    for attribute in ("key", "name"):
        name = getattr(key, attribute, None)
        if name is not None:
            return str(name)
    return ""


def _identifier(name: str) -> str:
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"_{cleaned}"


def _distinct(names: list[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    distinct = []
    for name in names:
        candidate, number = name, 1
        while candidate in seen:
            candidate, number = f"{name}_{number}", number + 1
        seen.add(candidate)
        distinct.append(candidate)
    return tuple(distinct)
