"""Image classifiers: convolutional networks, transformers, and what lies between."""

import torch
from seeded import image, lively, source
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileViTConfig,
    MobileViTForImageClassification,
    RegNetConfig,
    RegNetForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from edgedeploy import ModelSource

SIZE = 64
CLASSES = 100


def mobilenet_v2() -> ModelSource:
    """Inverted residuals with ReLU6: every block of the real network, at half its width."""
    torch.manual_seed(1)
    config = MobileNetV2Config(image_size=SIZE, depth_multiplier=0.5, num_labels=CLASSES)
    return source(MobileNetV2ForImageClassification(config), lambda g: (image(g, SIZE),))


def mobilenet_v3() -> ModelSource:
    """Inverted residuals with hard swish and squeeze-and-excitation."""
    torch.manual_seed(2)
    return source(lively(MobileNetV3(CLASSES)), lambda g: (image(g, SIZE),))


def efficientnet() -> ModelSource:
    """EfficientNet-B0's kinds of block (SiLU, squeeze-and-excitation), seven stages of one or two."""
    torch.manual_seed(3)
    config = EfficientNetConfig(
        image_size=SIZE, width_coefficient=0.5, depth_coefficient=0.4, hidden_dim=640, num_labels=CLASSES
    )
    return source(lively(EfficientNetForImageClassification(config)), lambda g: (image(g, SIZE),))


def resnet() -> ModelSource:
    """A ResNet of bottleneck blocks, two per stage."""
    torch.manual_seed(4)
    config = ResNetConfig(
        embedding_size=16, hidden_sizes=[32, 64, 96, 128], depths=[2, 2, 2, 2], layer_type="bottleneck", num_labels=CLASSES
    )
    return source(ResNetForImageClassification(config), lambda g: (image(g, SIZE),))


def regnet() -> ModelSource:
    """Grouped convolutions with squeeze-and-excitation (the "Y" kind)."""
    torch.manual_seed(5)
    config = RegNetConfig(
        embedding_size=16, hidden_sizes=[24, 48, 72, 96], depths=[1, 2, 2, 1], groups_width=8, num_labels=CLASSES
    )
    return source(RegNetForImageClassification(config), lambda g: (image(g, SIZE),))


def convnext_v2() -> ModelSource:
    """7×7 depthwise convolutions, LayerNorm over channels, global response normalisation."""
    torch.manual_seed(6)
    config = ConvNextV2Config(
        image_size=SIZE, hidden_sizes=[24, 48, 72, 96], depths=[1, 1, 2, 1], initializer_range=0.1, num_labels=CLASSES
    )
    module = ConvNextV2ForImageClassification(config)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "grn" in name:  # zero in a fresh model, which would leave the layer out
                parameter.normal_(std=0.5)
    return source(module, lambda g: (image(g, SIZE),))


def vit() -> ModelSource:
    """Patches of 8×8 pixels, a class token, four layers of attention."""
    torch.manual_seed(7)
    config = ViTConfig(
        image_size=SIZE,
        patch_size=8,
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=192,
        initializer_range=0.1,
        num_labels=CLASSES,
    )
    return source(ViTForImageClassification(config), lambda g: (image(g, SIZE),))


def swin() -> ModelSource:
    """Attention in windows that shift, with a table of relative positions; patches merge between stages."""
    torch.manual_seed(8)
    config = SwinConfig(
        image_size=SIZE,
        patch_size=4,
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        initializer_range=0.1,
        num_labels=CLASSES,
    )
    return source(SwinForImageClassification(config), lambda g: (image(g, SIZE),))


def mobilevit() -> ModelSource:
    """Convolutions, with attention over unfolded patches in the later stages."""
    torch.manual_seed(9)
    config = MobileViTConfig(
        image_size=SIZE,
        hidden_sizes=[48, 64, 80],
        neck_hidden_sizes=[16, 16, 24, 32, 48, 64, 160],
        num_attention_heads=4,
        initializer_range=0.2,
        num_labels=CLASSES,
    )
    return source(MobileViTForImageClassification(config), lambda g: (image(g, SIZE),))


class SqueezeExcite(nn.Module):
    """Weights each channel by what the mean of all channels says about it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(mean))))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; add the input where shapes allow."""

    def __init__(self, inputs: int, wide: int, outputs: int, kernel: int, stride: int, *, excite: bool, swish: bool) -> None:
        super().__init__()
        activation = nn.Hardswish if swish else nn.ReLU
        self.adds = stride == 1 and inputs == outputs
        layers = [
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            activation(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            activation(),
        ]
        if excite:
            layers.append(SqueezeExcite(wide))
        layers += [nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV3(nn.Module):
    """The small variant, in eight blocks."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.blocks = nn.Sequential(
            InvertedResidual(16, 16, 16, 3, 2, excite=True, swish=False),
            InvertedResidual(16, 72, 24, 3, 2, excite=False, swish=False),
            InvertedResidual(24, 88, 24, 3, 1, excite=False, swish=False),
            InvertedResidual(24, 96, 40, 5, 2, excite=True, swish=True),
            InvertedResidual(40, 240, 40, 5, 1, excite=True, swish=True),
            InvertedResidual(40, 120, 48, 5, 1, excite=True, swish=True),
            InvertedResidual(48, 288, 96, 5, 2, excite=True, swish=True),
            InvertedResidual(96, 576, 96, 5, 1, excite=True, swish=True),
        )
        self.last = nn.Sequential(nn.Conv2d(96, 288, 1, bias=False), nn.BatchNorm2d(288), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(288, 512), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(512, classes))

    def forward(self, image: Tensor) -> Tensor:
        x = self.last(self.blocks(self.stem(image)))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
