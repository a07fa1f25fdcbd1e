"""A small convolutional network with seeded weights: large enough that the SDK works for seconds."""

import torch
from torch import nn

from edgedeploy import ModelSource


def block(inputs: int, outputs: int) -> nn.Module:
    """Convolution, normalisation, activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def network() -> ModelSource:
    """Four blocks and a classifier on 96×96 images."""
    torch.manual_seed(0)
    module = nn.Sequential(
        block(3, 16), block(16, 32), block(32, 64), block(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)
    )
    return ModelSource(module=module, example_inputs=(torch.randn(1, 3, 96, 96),))
