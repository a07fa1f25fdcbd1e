"""Pruning by magnitude: the smallest weights of the whole model become zero."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgedeploy.errors import CompressError
from edgedeploy.ports import Emit

if TYPE_CHECKING:
    from edgedeploy.source import LoadedModel

_SETTING = "sparsity"


class MagnitudePruner:
    """Zeroes the given share of all Linear and convolution weights, smallest absolute value first, model-wide.

    The settings are ``{"sparsity": s}`` with s between 0 and 1, both exclusive. Zeros make neither the file smaller nor
    the model faster by themselves: they help where the file is packed, or where a backend has sparse kernels.
    """

    name: str = "magnitude"

    def check(self, settings: Mapping[str, float | int | str | bool]) -> None:
        """Refuse anything but a sparsity between 0 and 1.

        Raises:
            CompressError: naming the setting.
        """
        for key in settings:
            if key != _SETTING:
                raise CompressError(
                    f"magnitude has no setting {key!r}",
                    where=key,
                    seen=repr(settings[key]),
                    next_step=f"the only one is {_SETTING}",
                )
        _sparsity(settings)

    def compress(self, model: LoadedModel, settings: Mapping[str, float | int | str | bool], emit: Emit) -> LoadedModel:
        """The model with that share of its weights zero. Biases, norms and embeddings are left alone.

        Raises:
            CompressError: a wrong setting, or a model without Linear and convolution layers.
        """
        from torch import nn
        from torch.nn.utils import prune

        self.check(settings)
        sparsity = _sparsity(settings)
        emit("copying the model")
        # All at once: layers that methods share stay shared in the copies.
        modules = copy.deepcopy([method.module for method in model.methods])
        kinds = (
            nn.Linear,
            nn.Conv1d,
            nn.Conv2d,
            nn.Conv3d,
            nn.ConvTranspose1d,
            nn.ConvTranspose2d,
            nn.ConvTranspose3d,
        )
        layers = {id(layer): layer for module in modules for layer in module.modules() if isinstance(layer, kinds)}
        pruned = [(layer, "weight") for layer in layers.values()]
        if not pruned:
            raise CompressError(
                "the model has no weights that magnitude could prune",
                where=model.name,
                seen="no Linear and no convolution layer",
                next_step="take this compressor out of the recipe",
            )
        emit(f"pruning {len(pruned)} layers to {sparsity:.0%} zeros")
        prune.global_unstructured(pruned, pruning_method=prune.L1Unstructured, amount=sparsity)
        for layer, parameter in pruned:
            prune.remove(layer, parameter)  # type: ignore[no-untyped-call]  # torch has no type hints here
        methods = tuple(dataclasses.replace(method, module=module) for method, module in zip(model.methods, modules, strict=True))
        return dataclasses.replace(model, methods=methods, shared={})


def _sparsity(settings: Mapping[str, float | int | str | bool]) -> float:
    value = settings.get(_SETTING)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise CompressError(
            "sparsity is a number between 0 and 1, both exclusive",
            where=_SETTING,
            seen="nothing" if value is None else repr(value),
            next_step="e.g. sparsity = 0.5 makes half of the weights zero",
        )
    return float(value)
