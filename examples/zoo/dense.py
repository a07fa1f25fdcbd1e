"""An answer per place in the picture: boxes, classes per pixel, more pixels."""

import torch
from seeded import image, lively, source
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from edgedeploy import ModelSource

SIZE = 96


def yolo() -> ModelSource:
    """A one-stage detector with three scales: raw class and box maps per scale, and the decoded boxes."""
    torch.manual_seed(1)
    return source(lively(Yolo(classes=20)), lambda g: (image(g, SIZE),))


def unet() -> ModelSource:
    """Down by pooling, up by transposed convolutions, with connections across."""
    torch.manual_seed(2)
    return source(lively(UNet(classes=6)), lambda g: (image(g, SIZE),))


def deeplab() -> ModelSource:
    """Dilated convolutions side by side with an image-wide mean, then bilinear upsampling: DeepLab v3+."""
    torch.manual_seed(3)
    return source(lively(DeepLab(classes=12)), lambda g: (image(g, SIZE),))


def segformer() -> ModelSource:
    """Attention over a shortened sequence, overlapping patches, an all-linear decoder."""
    torch.manual_seed(4)
    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 96], decoder_hidden_size=64, initializer_range=0.1, num_labels=12
    )
    return source(SegformerForSemanticSegmentation(config), lambda g: (image(g, SIZE),))


def depth() -> ModelSource:
    """Depth Anything: a DINOv2 backbone read at four layers, fused from coarse to fine by convolutions."""
    torch.manual_seed(5)
    backbone = Dinov2Config(
        image_size=84,
        patch_size=14,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        initializer_range=0.1,
        layerscale_value=0.5,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=64,
        patch_size=14,
        neck_hidden_sizes=[16, 32, 48, 64],
        fusion_hidden_size=32,
        head_hidden_size=16,
        initializer_range=0.1,
    )
    return source(DepthAnythingForDepthEstimation(config), lambda g: (image(g, 84),))


def super_resolution() -> ModelSource:
    """Residual blocks, then pixel shuffle: three times as wide and high, added to the bilinear enlargement."""
    torch.manual_seed(6)
    return source(SuperResolution(factor=3), lambda g: (image(g, 48),))


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, SiLU; the size stays, but for the stride."""
    padding = (kernel // 2) * dilation
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )


class SplitBlock(nn.Module):
    """Half of the channels pass by, half go through bottlenecks, and every stage is kept (C2f of YOLOv8)."""

    def __init__(self, inputs: int, outputs: int, bottlenecks: int) -> None:
        super().__init__()
        half = outputs // 2
        self.widen = convolution(inputs, outputs, 1)
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(convolution(half, half), convolution(half, half)) for _ in range(bottlenecks)
        )
        self.merge = convolution(half * (2 + bottlenecks), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.widen(x).chunk(2, 1))
        for bottleneck in self.bottlenecks:
            parts.append(parts[-1] + bottleneck(parts[-1]))
        return self.merge(torch.cat(parts, 1))


class PyramidPooling(nn.Module):
    """The same map, pooled once, twice and three times (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = convolution(channels, channels // 2, 1)
        self.merge = convolution(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [self.narrow(x)]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        return self.merge(torch.cat(pooled, 1))


class Yolo(nn.Module):
    """YOLOv8's structure at an eighth of its width: backbone, pyramid up and down, a head without anchors per scale."""

    BINS = 8

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, 8, 3, 2), convolution(8, 16, 3, 2), SplitBlock(16, 16, 1))
        self.stage3 = nn.Sequential(convolution(16, 32, 3, 2), SplitBlock(32, 32, 1))
        self.stage4 = nn.Sequential(convolution(32, 48, 3, 2), SplitBlock(48, 48, 1))
        self.stage5 = nn.Sequential(convolution(48, 64, 3, 2), SplitBlock(64, 64, 1), PyramidPooling(64))
        self.up4 = SplitBlock(64 + 48, 48, 1)
        self.up3 = SplitBlock(48 + 32, 32, 1)
        self.down4, self.out4 = convolution(32, 32, 3, 2), SplitBlock(32 + 48, 48, 1)
        self.down5, self.out5 = convolution(48, 48, 3, 2), SplitBlock(48 + 64, 64, 1)
        widths = (32, 48, 64)
        self.boxes = nn.ModuleList(nn.Sequential(convolution(w, 32), nn.Conv2d(32, 4 * self.BINS, 1)) for w in widths)
        self.classes = nn.ModuleList(nn.Sequential(convolution(w, 32), nn.Conv2d(32, classes, 1)) for w in widths)
        self.strides = (8, 16, 32)

    def forward(self, image: Tensor) -> dict[str, Tensor | list[Tensor]]:
        p3 = self.stage3(self.stem(image))
        p4 = self.stage4(p3)
        p5 = self.stage5(p4)
        m4 = self.up4(torch.cat([F.interpolate(p5, scale_factor=2.0, mode="nearest"), p4], 1))
        n3 = self.up3(torch.cat([F.interpolate(m4, scale_factor=2.0, mode="nearest"), p3], 1))
        n4 = self.out4(torch.cat([self.down4(n3), m4], 1))
        n5 = self.out5(torch.cat([self.down5(n4), p5], 1))
        boxes = [head(level) for head, level in zip(self.boxes, (n3, n4, n5), strict=True)]
        scores = [head(level) for head, level in zip(self.classes, (n3, n4, n5), strict=True)]
        decoded = torch.cat([self.decode(box, stride) for box, stride in zip(boxes, self.strides, strict=True)], 2)
        return {"box_maps": boxes, "class_maps": scores, "boxes": decoded}

    def decode(self, box: Tensor, stride: int) -> Tensor:
        """Left, top, right, bottom in pixels, [batch, 4, places]: each side is the mean of a distribution over bins."""
        batch, _, height, width = box.shape
        bins = torch.arange(self.BINS, dtype=box.dtype)
        sides = (box.reshape(batch, 4, self.BINS, height * width).softmax(2) * bins[:, None]).sum(2)
        ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        centres = torch.stack([xs.flatten(), ys.flatten()])[None]
        return torch.cat([centres - sides[:, :2], centres + sides[:, 2:]], 1) * stride


class UNet(nn.Module):
    """Three levels and a bottom."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (12, 24, 48, 96)
        self.downs = nn.ModuleList(self.double(a, b) for a, b in zip((3, *widths), widths, strict=False))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.grows = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, 2, 2) for wide, narrow in pairs)
        self.ups = nn.ModuleList(self.double(2 * narrow, narrow) for _, narrow in pairs)
        self.head = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def double(inputs: int, outputs: int) -> nn.Sequential:
        """Two convolutions with BatchNorm and ReLU."""
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, image: Tensor) -> Tensor:
        kept = []
        x = image
        for down in self.downs[:-1]:
            x = down(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.downs[-1](x)
        for grow, up in zip(self.grows, self.ups, strict=True):
            x = up(torch.cat([grow(x), kept.pop()], 1))
        return self.head(x)


class DeepLab(nn.Module):
    """A short backbone whose last stage is dilated, pyramid pooling, and a decoder that sees fine features again."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(convolution(3, 16, 3, 2), convolution(16, 24, 3, 2))
        self.coarse = nn.Sequential(convolution(24, 48, 3, 2), convolution(48, 64, 3, dilation=2), convolution(64, 64, 3, dilation=4))
        self.branches = nn.ModuleList(
            [convolution(64, 32, 1), *(convolution(64, 32, 3, dilation=rate) for rate in (3, 6, 9))]
        )
        self.everywhere = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 32, 1), nn.SiLU())
        self.merge = convolution(32 * 5, 48, 1)
        self.narrow = convolution(24, 12, 1)
        self.head = nn.Sequential(convolution(60, 48), nn.Conv2d(48, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        fine = self.fine(image)
        coarse = self.coarse(fine)
        mean = self.everywhere(coarse)
        mean = F.interpolate(mean, size=coarse.shape[-2:], mode="bilinear", align_corners=False)
        x = self.merge(torch.cat([*(branch(coarse) for branch in self.branches), mean], 1))
        x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        x = self.head(torch.cat([x, self.narrow(fine)], 1))
        return F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False)


class SuperResolution(nn.Module):
    """EDSR's residual blocks without BatchNorm, four of them, then a sub-pixel convolution."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.head = nn.Conv2d(3, 24, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.PReLU(24), nn.Conv2d(24, 24, 3, padding=1)) for _ in range(4)
        )
        self.tail = nn.Sequential(nn.Conv2d(24, 3 * factor**2, 3, padding=1), nn.PixelShuffle(factor))

    def forward(self, image: Tensor) -> Tensor:
        x = self.head(image)
        for block in self.body:
            x = x + block(x)
        return self.tail(x) + F.interpolate(image, scale_factor=float(self.factor), mode="bilinear", align_corners=False)
