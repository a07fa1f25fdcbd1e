"""What all models of the zoo share: inputs drawn with a seed, and BatchNorm statistics that belong to the weights."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edgedeploy import ModelSource

Inputs = tuple[Tensor, ...]

GOLDEN = 2
CALIBRATION = 8
STATISTICS = 64


def source(module: nn.Module, draw: Callable[[Generator], Inputs]) -> ModelSource:
    """The module with inputs drawn by ``draw``: two golden ones and eight for calibration, always the same.

    BatchNorm layers get the statistics that these weights have on such inputs: with the untouched ones (mean 0,
    variance 1) a random network of some depth gives outputs of 1e-5 or 1e5, which say nothing about a conversion. Their
    own weights are small and their biases positive, so that most of a signal passes an activation, as in trained
    networks. With weights around 1 and biases around 0 a random network is chaotic (Yang et al. 2019, "A mean field theory
    of batch normalization"): noise of 1 % on the input became 10 to 40 %, and int8 activations, imitated in PyTorch, left
    1 to 27 dB. So they leave 19 to 37 dB.
    """
    generator = torch.Generator().manual_seed(20)
    calibration = [draw(generator) for _ in range(CALIBRATION)]
    golden = [draw(generator) for _ in range(GOLDEN)]
    _settle(module, [draw(generator) for _ in range(STATISTICS)])
    return ModelSource(module=module.eval(), example_inputs=golden[0], golden_inputs=golden, calibration=calibration)


def lively(module: nn.Module) -> nn.Module:
    """The module with random weights that keep a signal's size from layer to layer (He et al. 2015).

    PyTorch's own initial weights halve it each time, until outputs hardly depend on inputs.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -0.1, 0.1)
    return module


def image(generator: Generator, size: int, channels: int = 3) -> Tensor:
    """A picture of coloured patches with some grain; pictures differ in brightness and contrast."""
    patches = F.interpolate(torch.randn(1, channels, 5, 5, generator=generator), size=(size, size), mode="bicubic")
    grain = torch.randn(1, channels, size, size, generator=generator)
    brightness, contrast = torch.randn(2, generator=generator)
    return brightness * 0.5 + torch.exp(contrast * 0.3) * (patches + 0.15 * grain)


def sound(generator: Generator, samples: int, rate: int = 16_000) -> Tensor:
    """A voiced sound: harmonics of a gliding pitch, two resonances, an envelope of syllables, some breath. [1, samples]."""
    time = torch.arange(samples) / rate
    pitch, glide, first, second, phase = torch.rand(5, generator=generator).tolist()
    turns = torch.cumsum((100 + 120 * pitch) * (1 + 0.2 * glide * torch.sin(4 * time)), 0) / rate
    wave = torch.zeros(samples)
    for harmonic in range(1, 20):
        frequency = harmonic * (100 + 120 * pitch)
        strength = sum(1 / (1 + ((frequency - peak) / 150) ** 2) for peak in (350 + 500 * first, 1000 + 1200 * second))
        wave = wave + strength * torch.sin(2 * torch.pi * harmonic * turns)
    envelope = 0.55 + 0.45 * torch.sin(2 * torch.pi * (3 * time + phase))
    breath = torch.randn(samples, generator=generator)
    return (0.2 * envelope * wave + 0.01 * breath)[None]


def tokens(generator: Generator, vocabulary: int, length: int) -> tuple[Tensor, Tensor]:
    """Token ids and their mask (1 for tokens, 0 for padding), [1, length] each; small ids are frequent, as in text."""
    used = int(torch.randint(length // 3, length + 1, (1,), generator=generator))
    rank = torch.rand(1, length, generator=generator) ** 2
    mask = (torch.arange(length)[None] < used).long()
    return (1 + (rank * (vocabulary - 1)).long()) * mask, mask


def _settle(module: nn.Module, batches: list[Inputs]) -> None:
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    module.eval()
    for layer in norms:
        if layer.affine:
            nn.init.uniform_(layer.weight, 0.3, 0.7)
            nn.init.normal_(layer.bias, mean=0.7, std=0.7)
        layer.train()
        layer.momentum = None  # take this one batch's statistics as they are
    with torch.no_grad():
        module(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
    module.eval()
