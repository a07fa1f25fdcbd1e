"""Points and graphs, without operators of their own: what scatter and gather of PyTorch can do."""

import torch
from seeded import lively, source
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edgedeploy import ModelSource

POINTS = 128
NODES = 24
EDGES = 80


def pointnet() -> ModelSource:
    """The same perceptron for every point, the maximum over all points, and a learned rotation of the input."""
    torch.manual_seed(1)
    return source(lively(PointNet(classes=10)), lambda g: (point_cloud(g),))


def gnn_dense() -> ModelSource:
    """Graph convolutions as products with a normalised adjacency matrix."""
    torch.manual_seed(2)

    def draw(generator: Generator) -> tuple[Tensor, Tensor]:
        edges = (torch.rand(NODES, NODES, generator=generator) < 0.15).float()
        return torch.randn(1, NODES, 12, generator=generator), torch.maximum(edges, edges.T)[None]

    return source(lively(DenseGnn(classes=4)), draw)


def gnn_sparse() -> ModelSource:
    """Messages along a list of edges, gathered by index and summed with ``index_add``."""
    torch.manual_seed(3)

    def draw(generator: Generator) -> tuple[Tensor, Tensor]:
        return torch.randn(NODES, 12, generator=generator), torch.randint(NODES, (2, EDGES), generator=generator)

    return source(lively(SparseGnn()), draw)


def point_cloud(generator: Generator) -> Tensor:
    """Points on a stretched, turned ball or box. [1, 3, POINTS]."""
    points = torch.randn(3, POINTS, generator=generator)
    if torch.rand(1, generator=generator) < 0.5:
        points = points / points.norm(dim=0)
    else:
        points = points / points.abs().amax(0)
    stretch = 0.3 + torch.rand(3, 1, generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    return (turn @ (stretch * points))[None]


def shared(*widths: int) -> nn.Sequential:
    """Convolutions of width 1 with BatchNorm and ReLU: one perceptron, shared by all points."""
    layers = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class PointNet(nn.Module):
    """Turns the cloud, lifts every point, takes the maximum, classifies."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.look = shared(3, 32, 64)
        self.turn = nn.Linear(64, 9)
        self.lift = shared(3, 32, 64, 128)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, classes))

    def forward(self, points: Tensor) -> Tensor:
        turn = self.turn(self.look(points).amax(2)).unflatten(1, (3, 3)) + torch.eye(3)
        return F.log_softmax(self.head(self.lift(torch.bmm(turn, points)).amax(2)), 1)


class DenseGnn(nn.Module):
    """Three layers over nodes [batch, nodes, 12] and edges [batch, nodes, nodes] of ones and zeros."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in ((12, 48), (48, 48), (48, 48)))
        self.head = nn.Linear(48, classes)

    def forward(self, nodes: Tensor, edges: Tensor) -> dict[str, Tensor]:
        linked = edges + torch.eye(edges.shape[-1])
        scale = linked.sum(-1).rsqrt()
        spread = scale[:, :, None] * linked * scale[:, None, :]
        for layer in self.layers:
            nodes = F.relu(spread @ layer(nodes))
        return {"node_logits": self.head(nodes), "graph_logits": self.head(nodes.mean(1))}


class SparseGnn(nn.Module):
    """Two rounds of messages; every node hears the mean of its neighbours (GraphSAGE)."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.ModuleList([nn.Linear(12, 48), nn.Linear(48, 48)])
        self.heard = nn.ModuleList([nn.Linear(12, 48), nn.Linear(48, 48)])
        self.head = nn.Linear(48, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        senders, receivers = edges[0], edges[1]
        count = torch.zeros(nodes.shape[0]).index_add(0, receivers, torch.ones(edges.shape[1])).clamp(min=1)
        for own, heard in zip(self.own, self.heard, strict=True):
            total = torch.zeros_like(nodes).index_add(0, receivers, nodes[senders])
            nodes = F.relu(own(nodes) + heard(total / count[:, None]))
        return self.head(nodes)
