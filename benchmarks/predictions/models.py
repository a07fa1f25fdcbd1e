"""Models that are not in the zoo, on which no constant of a prediction was chosen. Random weights."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from transformers import (
    MobileNetV1Config,
    MobileNetV1ForImageClassification,
    OPTConfig,
    OPTForCausalLM,
    PoolFormerConfig,
    PoolFormerForImageClassification,
)

from edgedeploy import ModelSource

Inputs = tuple[Tensor, ...]


def mobilenet_v1() -> ModelSource:
    """Depthwise separable convolutions at half their width."""
    torch.manual_seed(0)
    config = MobileNetV1Config(depth_multiplier=0.5, image_size=96, num_labels=50)
    return source(Logits(MobileNetV1ForImageClassification(config)), lambda g: (torch.randn(1, 3, 96, 96, generator=g),))


def decoder() -> ModelSource:
    """From a vector to an image: transposed convolutions and GroupNorm."""
    torch.manual_seed(0)
    return source(Decoder(), lambda g: (torch.randn(1, 32, generator=g),))


def opt() -> ModelSource:
    """A language model with learned positions and tied embeddings."""
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=800,
        hidden_size=96,
        word_embed_proj_dim=96,
        num_hidden_layers=3,
        ffn_dim=256,
        num_attention_heads=4,
        max_position_embeddings=64,
        use_cache=False,
    )
    return source(Logits(OPTForCausalLM(config)), lambda g: (torch.randint(2, 800, (1, 24), generator=g),))


def shufflenet() -> ModelSource:
    """Channels halved, convolved and shuffled."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    wider = nn.Sequential(nn.Conv2d(64, 192, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(192), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(192, 40))
    net = nn.Sequential(stem, *(Shuffle(64) for _ in range(3)), wider, *(Shuffle(192) for _ in range(4)), head)
    return source(net, lambda g: (torch.randn(1, 3, 64, 64, generator=g),))


def encoder() -> ModelSource:
    """PyTorch's own transformer over words with learned positions."""
    torch.manual_seed(0)
    return source(Encoder(), lambda g: (torch.randint(1, 500, (1, 40), generator=g),))


def text_lstm() -> ModelSource:
    """Words through an LSTM to a class."""
    torch.manual_seed(0)
    return source(TextLstm(), lambda g: (torch.randint(1, 2000, (1, 24), generator=g),))


def wavenet() -> ModelSource:
    """Dilated causal convolutions with gates."""
    torch.manual_seed(0)
    blocks = (Gated(48, 2**level) for level in range(7))
    net = nn.Sequential(nn.Conv1d(1, 48, 1), *blocks, nn.ReLU(), nn.Conv1d(48, 64, 1), nn.ReLU(), nn.Conv1d(64, 16, 1))
    return source(net, lambda g: (torch.randn(1, 1, 400, generator=g),))


def poolformer() -> ModelSource:
    """A transformer's blocks with pooling in place of attention."""
    torch.manual_seed(0)
    config = PoolFormerConfig(hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 2, 1], num_labels=30)
    return source(Logits(PoolFormerForImageClassification(config)), lambda g: (torch.randn(1, 3, 96, 96, generator=g),))


def source(module: nn.Module, draw: Callable[[Generator], Inputs]) -> ModelSource:
    """The module with inputs drawn by ``draw``; BatchNorm layers get the statistics that they have on some of them."""
    generator = torch.Generator().manual_seed(3)
    calibration = [draw(generator) for _ in range(8)]
    golden = [draw(generator) for _ in range(2)]
    module.train()
    with torch.no_grad():
        for inputs in calibration:
            module(*inputs)
    return ModelSource(module=module.eval(), example_inputs=golden[0], golden_inputs=golden, calibration=calibration)


class Logits(nn.Module):
    """The logits alone of a model of transformers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Of one input."""
        return self.model(x).logits


class Decoder(nn.Module):
    """Three times twice as large."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(32, 64 * 6 * 6)
        stages = [self._stage(*channels) for channels in ((64, 64), (64, 32), (32, 16))]
        self.stages = nn.Sequential(*stages, nn.Conv2d(16, 3, 3, padding=1), nn.Sigmoid())

    @staticmethod
    def _stage(before: int, after: int) -> nn.Module:
        enlarge = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        refine = nn.Conv2d(after, after, 3, padding=1)
        return nn.Sequential(enlarge, nn.GroupNorm(4, after), nn.SiLU(), refine, nn.GroupNorm(4, after), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        """An image of 48×48 pixels."""
        return self.stages(self.first(x).view(-1, 64, 6, 6))


class Shuffle(nn.Module):
    """ShuffleNet v2's block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Half passes, half is convolved."""
        kept, changed = x.chunk(2, 1)
        n, c, h, w = x.shape
        return torch.cat([kept, self.branch(changed)], 1).view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Encoder(nn.Module):
    """The first word's vector decides."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(500, 96), nn.Parameter(torch.randn(1, 40, 96) * 0.02)
        layer = nn.TransformerEncoderLayer(96, 4, 256, batch_first=True, norm_first=True, activation="gelu")
        self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(96, 8)

    def forward(self, ids: Tensor) -> Tensor:
        """Eight classes."""
        return self.head(self.blocks(self.words(ids) + self.places)[:, 0])


class TextLstm(nn.Module):
    """The last state decides."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(2000, 48), nn.LSTM(48, 64, batch_first=True), nn.Linear(64, 5)

    def forward(self, ids: Tensor) -> Tensor:
        """Five classes."""
        return self.head(self.lstm(self.words(ids))[0][:, -1])


class Gated(nn.Module):
    """WaveNet's block."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.signal = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.gate = nn.Conv1d(channels, channels, 2, dilation=dilation)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The signal, gated, on top of what came in."""
        past = nn.functional.pad(x, (self.dilation, 0))
        return x + self.out(torch.tanh(self.signal(past)) * torch.sigmoid(self.gate(past)))
