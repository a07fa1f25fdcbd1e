"""Layers of ``torch.ao.nn`` as the plain float layers that they stand for. Imports torch: load it when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn import quantizable, quantized
from torch.ao.nn.intrinsic import quantized as fused
from torch.ao.nn.intrinsic.quantized import dynamic as fused_dynamic
from torch.ao.nn.quantized import dynamic
from torch.ao.quantization import DeQuantStub, FakeQuantizeBase, ObserverBase, QuantStub
from torch.ao.quantization.quantize import _observer_forward_hook, _observer_forward_pre_hook

from edgedeploy.errors import ModelError

# The layers of torch.ao have a common interface and no common type.
_Layer = Any


def is_converted(module: nn.Module) -> bool:
    """Whether some layer computes in int8 already, or is a graph that may."""
    return any(_is_quantized(part) or isinstance(part, torch.fx.GraphModule) for part in module.modules())


def as_float(module: nn.Module, where: str) -> nn.Module:
    """The module with every layer of quantization replaced; whatever is not of quantization stays, and is changed in place.

    Raises:
        ModelError: a quantized layer that is not in the table, named by its path.
    """
    return _Conversion(where).of(module, "")


class _Conversion:
    def __init__(self, where: str) -> None:
        self._where = where
        # A layer used in two places stays one layer. By the layers themselves, which stay alive so: an id is given again.
        self._done: dict[nn.Module, nn.Module] = {}

    def of(self, module: nn.Module, path: str) -> nn.Module:
        if module not in self._done:
            self._done[module] = self._float(module, path)
        return self._done[module]

    def _float(self, module: nn.Module, path: str) -> nn.Module:
        if isinstance(module, ObserverBase | FakeQuantizeBase | QuantStub | DeQuantStub):
            return nn.Identity()  # still called by name: in FX graphs, and by FloatFunctional
        form = _FLOAT_FORMS.get(type(module))
        if form is not None:
            return form(module)
        if _is_quantized(module):
            raise ModelError(
                f"edgedeploy knows no float form of the quantized layer {type(module).__name__}",
                where=f"{self._where}: {path or 'the model itself'}",
                seen=f"{type(module).__module__}.{type(module).__name__}",
                next_step="give the float model, with or without QuantStub: int8 lanes quantize it",
            )
        to_float = getattr(module, "to_float", None)
        if to_float is not None and "qat" in type(module).__module__:
            module = to_float()
        _remove_observer_hooks(module)
        for name, child in list(module._modules.items()):  # noqa: SLF001 - named_children() leaves out what it gave before
            if child is not None:
                setattr(module, name, self.of(child, f"{path}.{name}".removeprefix(".")))
        return module


def _is_quantized(module: nn.Module) -> bool:
    kind = type(module)
    # A FloatFunctional lives among the quantized layers, and computes in float.
    return ".quantized" in kind.__module__ and kind.__module__.startswith("torch.ao.nn.") and kind not in _FLOAT_ALREADY


def _remove_observer_hooks(module: nn.Module) -> None:
    for hooks, observing in (
        (module._forward_hooks, _observer_forward_hook),  # noqa: SLF001 - PyTorch lists hooks nowhere else
        (module._forward_pre_hooks, _observer_forward_pre_hook),  # noqa: SLF001
    ):
        for key in [key for key, hook in hooks.items() if hook is observing]:
            del hooks[key]


def _filled(layer: nn.Module, **values: Tensor | None) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            if value is not None:
                getattr(layer, name).copy_(value.dequantize())
    return layer


def _linear(layer: _Layer) -> nn.Module:
    bias = layer.bias()
    return _filled(nn.Linear(layer.in_features, layer.out_features, bias=bias is not None), weight=layer.weight(), bias=bias)


def _convolution(kind: type[nn.Module]) -> Callable[[_Layer], nn.Module]:
    def convert(layer: _Layer) -> nn.Module:
        bias = layer.bias()
        options = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
            "padding_mode": layer.padding_mode,
            "bias": bias is not None,
        }
        if layer.transposed:
            options["output_padding"] = layer.output_padding
        plain: Callable[..., nn.Module] = kind
        made = plain(layer.in_channels, layer.out_channels, layer.kernel_size, **options)
        return _filled(made, weight=layer.weight(), bias=bias)

    return convert


def _then(first: Callable[[_Layer], nn.Module], second: Callable[[_Layer], nn.Module]) -> Callable[[_Layer], nn.Module]:
    return lambda layer: nn.Sequential(first(layer), second(layer))


def _batch_norm(kind: type[nn.BatchNorm2d | nn.BatchNorm3d]) -> Callable[[_Layer], nn.Module]:
    def convert(layer: _Layer) -> nn.Module:
        made = kind(layer.num_features, eps=layer.eps)
        return _filled(made, weight=layer.weight, bias=layer.bias, running_mean=layer.running_mean, running_var=layer.running_var)

    return convert


def _layer_norm(layer: _Layer) -> nn.Module:
    made = nn.LayerNorm(layer.normalized_shape, eps=layer.eps, elementwise_affine=layer.weight is not None)
    return _filled(made, weight=layer.weight, bias=layer.bias)


def _group_norm(layer: _Layer) -> nn.Module:
    made = nn.GroupNorm(layer.num_groups, layer.num_channels, eps=layer.eps, affine=layer.weight is not None)
    return _filled(made, weight=layer.weight, bias=layer.bias)


def _instance_norm(kind: type[nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d]) -> Callable[[_Layer], nn.Module]:
    def convert(layer: _Layer) -> nn.Module:
        made = kind(layer.num_features, eps=layer.eps, affine=layer.weight is not None)
        return _filled(made, weight=layer.weight, bias=layer.bias)

    return convert


def _embedding(layer: _Layer) -> nn.Module:
    return _filled(nn.Embedding(layer.num_embeddings, layer.embedding_dim), weight=layer.weight())


def _embedding_bag(layer: _Layer) -> nn.Module:
    made = nn.EmbeddingBag(
        layer.num_embeddings, layer.embedding_dim, mode=layer.mode, include_last_offset=layer.include_last_offset
    )
    return _filled(made, weight=layer.weight())


def _recurrent(kind: type[nn.LSTM | nn.GRU]) -> Callable[[_Layer], nn.Module]:
    def convert(layer: _Layer) -> nn.Module:
        made = kind(
            layer.input_size,
            layer.hidden_size,
            num_layers=layer.num_layers,
            bias=layer.bias,
            batch_first=layer.batch_first,
            bidirectional=layer.bidirectional,
        )
        return _filled(made, **layer.get_weight(), **(layer.get_bias() if layer.bias else {}))

    return convert


def _cell(kind: type[nn.LSTMCell | nn.GRUCell | nn.RNNCell]) -> Callable[[_Layer], nn.Module]:
    def convert(layer: _Layer) -> nn.Module:
        plain: Callable[..., nn.Module] = kind
        options = {"nonlinearity": layer.nonlinearity} if kind is nn.RNNCell else {}
        made = plain(layer.input_size, layer.hidden_size, bias=layer.bias, **options)
        return _filled(made, **layer.get_weight(), **(layer.get_bias() if layer.bias else {}))

    return convert


def _static_lstm(layer: _Layer) -> nn.Module:
    """An LSTM that was taken apart into linear layers, so that each could be observed."""
    made = nn.LSTM(
        layer.input_size,
        layer.hidden_size,
        num_layers=layer.num_layers,
        bias=layer.bias,
        batch_first=layer.batch_first,
        bidirectional=layer.bidirectional,
    )
    values: dict[str, Tensor | None] = {}
    for number, level in enumerate(layer.layers):
        for suffix, direction in (("", level.layer_fw), ("_reverse", level.layer_bw if layer.bidirectional else None)):
            if direction is not None:
                for gates, name in ((direction.cell.igates, "ih"), (direction.cell.hgates, "hh")):
                    values[f"weight_{name}_l{number}{suffix}"] = gates.weight() if callable(gates.weight) else gates.weight
                    values[f"bias_{name}_l{number}{suffix}"] = gates.bias() if callable(gates.bias) else gates.bias
    return _filled(made, **values)


def _relu(_: _Layer) -> nn.Module:
    return nn.ReLU()


_FLOAT_ALREADY: frozenset[type[nn.Module]] = frozenset({quantized.FloatFunctional, quantized.FXFloatFunctional})

_CONVOLUTIONS: dict[type[nn.Module], type[nn.Module]] = {
    quantized.Conv1d: nn.Conv1d,
    quantized.Conv2d: nn.Conv2d,
    quantized.Conv3d: nn.Conv3d,
    quantized.ConvTranspose1d: nn.ConvTranspose1d,
    quantized.ConvTranspose2d: nn.ConvTranspose2d,
    quantized.ConvTranspose3d: nn.ConvTranspose3d,
    dynamic.Conv1d: nn.Conv1d,
    dynamic.Conv2d: nn.Conv2d,
    dynamic.Conv3d: nn.Conv3d,
    dynamic.ConvTranspose1d: nn.ConvTranspose1d,
    dynamic.ConvTranspose2d: nn.ConvTranspose2d,
    dynamic.ConvTranspose3d: nn.ConvTranspose3d,
}

# By exact type: a derived layer (a convolution with an addition, for one) does something else. PReLU is left out on purpose:
# PyTorch 2.13's own kernel for it is wrong, so nobody has a model that works with it.
_FLOAT_FORMS: dict[type, Callable[[_Layer], nn.Module]] = {
    quantized.Quantize: lambda _: nn.Identity(),
    quantized.DeQuantize: lambda _: nn.Identity(),
    quantized.QFunctional: lambda _: quantized.FloatFunctional(),
    quantized.Dropout: lambda _: nn.Identity(),
    quantized.Linear: _linear,
    dynamic.Linear: _linear,
    fused.LinearReLU: _then(_linear, _relu),
    fused_dynamic.LinearReLU: _then(_linear, _relu),
    fused.LinearLeakyReLU: _then(_linear, lambda layer: nn.LeakyReLU(layer.negative_slope)),
    fused.LinearTanh: _then(_linear, lambda _: nn.Tanh()),
    **{kind: _convolution(plain) for kind, plain in _CONVOLUTIONS.items()},
    fused.ConvReLU1d: _then(_convolution(nn.Conv1d), _relu),
    fused.ConvReLU2d: _then(_convolution(nn.Conv2d), _relu),
    fused.ConvReLU3d: _then(_convolution(nn.Conv3d), _relu),
    quantized.BatchNorm2d: _batch_norm(nn.BatchNorm2d),
    quantized.BatchNorm3d: _batch_norm(nn.BatchNorm3d),
    fused.BNReLU2d: _then(_batch_norm(nn.BatchNorm2d), _relu),
    fused.BNReLU3d: _then(_batch_norm(nn.BatchNorm3d), _relu),
    quantized.LayerNorm: _layer_norm,
    quantized.GroupNorm: _group_norm,
    quantized.InstanceNorm1d: _instance_norm(nn.InstanceNorm1d),
    quantized.InstanceNorm2d: _instance_norm(nn.InstanceNorm2d),
    quantized.InstanceNorm3d: _instance_norm(nn.InstanceNorm3d),
    quantized.ReLU6: lambda _: nn.ReLU6(),
    quantized.Hardswish: lambda _: nn.Hardswish(),
    quantized.ELU: lambda layer: nn.ELU(layer.alpha),
    quantized.LeakyReLU: lambda layer: nn.LeakyReLU(layer.negative_slope),
    quantized.Sigmoid: lambda _: nn.Sigmoid(),
    quantized.Softmax: lambda layer: nn.Softmax(layer.dim),
    quantized.Embedding: _embedding,
    quantized.EmbeddingBag: _embedding_bag,
    quantizable.LSTM: _static_lstm,
    quantized.LSTM: _static_lstm,
    dynamic.LSTM: _recurrent(nn.LSTM),
    dynamic.GRU: _recurrent(nn.GRU),
    dynamic.LSTMCell: _cell(nn.LSTMCell),
    dynamic.GRUCell: _cell(nn.GRUCell),
    dynamic.RNNCell: _cell(nn.RNNCell),
}
