"""Chains of equal convolutions, 40 of them and a few more; some milliseconds each on one core."""

import torch
from torch import nn

from edgedeploy import ModelSource

_CHANNELS, _SIZE, _LAYERS = 32, 32, 40


def _chain(layers: int) -> ModelSource:
    torch.manual_seed(0)
    module = nn.Sequential(
        *(
            nn.Sequential(nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1, bias=False), nn.ReLU())  # no bias: values stay small
            for _ in range(layers)
        )
    )
    for parameter in module.parameters():
        parameter.data *= 2.4  # as ReLU halves the variance, so that 44 layers leave something to compare
    inputs = [(torch.randn(1, _CHANNELS, _SIZE, _SIZE),) for _ in range(2)]
    return ModelSource(module=module, example_inputs=inputs[0], golden_inputs=inputs[:1])


def chain() -> ModelSource:
    """What is compared with."""
    return _chain(_LAYERS)


def chain_5() -> ModelSource:
    """5 % more."""
    return _chain(_LAYERS * 105 // 100)


def chain_10() -> ModelSource:
    """10 % more."""
    return _chain(_LAYERS * 110 // 100)
