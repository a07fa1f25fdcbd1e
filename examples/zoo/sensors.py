"""Series of measurements, and rows of a table."""

import torch
from seeded import lively, source
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edgedeploy import ModelSource

STEPS = 48
CHANNELS = 6


def gru() -> ModelSource:
    """Two GRU layers over accelerometer and gyroscope, one activity out."""
    torch.manual_seed(1)
    return source(lively(GruClassifier(classes=8)), lambda g: (motion(g),))


def lstm() -> ModelSource:
    """An LSTM in both directions; a forecast of the next steps and of their spread."""
    torch.manual_seed(2)
    return source(lively(LstmForecaster(horizon=6)), lambda g: (motion(g),))


def tcn() -> ModelSource:
    """Dilated causal convolutions with residual sums."""
    torch.manual_seed(3)
    return source(lively(Tcn(classes=8)), lambda g: (motion(g).transpose(1, 2),))


def autoencoder() -> ModelSource:
    """Finds anomalies: the reconstruction of a window and its error come out."""
    torch.manual_seed(4)
    return source(lively(Autoencoder()), lambda g: (motion(g).transpose(1, 2),))


def tabular() -> ModelSource:
    """Numbers and categories of one row: embeddings, BatchNorm, a perceptron with residual blocks."""
    torch.manual_seed(5)
    sizes = (7, 31, 12)

    def draw(generator: Generator) -> tuple[Tensor, Tensor]:
        categories = torch.stack([torch.randint(size, (1,), generator=generator) for size in sizes], 1)
        return torch.randn(1, 10, generator=generator) * torch.logspace(-1, 1, 10), categories

    return source(lively(Tabular(numbers=10, sizes=sizes, width=64)), draw)


def motion(generator: Generator) -> Tensor:
    """Swings of a few frequencies with drift and noise. [1, STEPS, CHANNELS]."""
    time = torch.arange(STEPS)[:, None] / 16
    speed, phase, size = torch.rand(3, CHANNELS, generator=generator)
    swing = (0.3 + size) * torch.sin(2 * torch.pi * ((0.3 + 2 * speed) * time + phase))
    drift = torch.cumsum(0.05 * torch.randn(STEPS, CHANNELS, generator=generator), 0)
    return (swing + drift + 0.05 * torch.randn(STEPS, CHANNELS, generator=generator))[None]


class GruClassifier(nn.Module):
    """The last state of the upper layer decides."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(CHANNELS, 48, num_layers=2, batch_first=True)
        self.head = nn.Linear(48, classes)

    def forward(self, series: Tensor) -> Tensor:
        states, _ = self.gru(series)
        return self.head(states[:, -1])


class LstmForecaster(nn.Module):
    """Mean and spread per future step."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(CHANNELS, 40, batch_first=True, bidirectional=True)
        self.mean = nn.Linear(80, horizon)
        self.spread = nn.Linear(80, horizon)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        states, _ = self.lstm(series)
        last = states.mean(1)
        return self.mean(last), F.softplus(self.spread(last))


class Tcn(nn.Module):
    """Four blocks; each sees twice as far back."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.widen = nn.Conv1d(CHANNELS, 32, 1)
        self.filters = nn.ModuleList(nn.Conv1d(32, 32, 3, dilation=2**level) for level in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm1d(32) for _ in range(4))
        self.head = nn.Linear(32, classes)

    def forward(self, series: Tensor) -> Tensor:
        x = self.widen(series)
        for level, (layer, norm) in enumerate(zip(self.filters, self.norms, strict=True)):
            past = F.pad(x, (2 * 2**level, 0))
            x = x + F.leaky_relu(norm(layer(past)), 0.1)
        return self.head(x[:, :, -1])


class Autoencoder(nn.Module):
    """Convolutions down to a code of eight numbers, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv1d(CHANNELS, 16, 5, stride=2, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 32, 5, stride=2, padding=2),
            nn.BatchNorm1d(32),
            nn.ReLU(),
        )
        self.code = nn.Linear(32 * STEPS // 4, 8)
        self.expand = nn.Linear(8, 32 * STEPS // 4)
        self.up = nn.Sequential(
            nn.ConvTranspose1d(32, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(16, CHANNELS, 4, stride=2, padding=1),
        )

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        code = self.code(self.down(series).flatten(1))
        rebuilt = self.up(F.relu(self.expand(code)).unflatten(1, (32, STEPS // 4)))
        return rebuilt, (rebuilt - series).abs().mean((1, 2))


class Tabular(nn.Module):
    """One embedding per category, everything side by side, two residual blocks."""

    def __init__(self, numbers: int, sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(numbers)
        self.embeddings = nn.ModuleList(nn.Embedding(size, 8) for size in sizes)
        self.first = nn.Linear(numbers + 8 * len(sizes), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)) for _ in range(2)
        )
        self.head = nn.Linear(width, 1)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        embedded = [table(categories[:, column]) for column, table in enumerate(self.embeddings)]
        x = self.first(torch.cat([self.norm(numbers), *embedded], 1))
        for block in self.blocks:
            x = x + block(x)
        return torch.sigmoid(self.head(x)).squeeze(1)
