"""Two towers: what a user did, and what there is to recommend."""

import torch
from seeded import lively, source
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from edgedeploy import ModelSource

HISTORY = 16
ITEMS = 500
CANDIDATES = 12


def two_tower() -> ModelSource:
    """Integer ids, a boolean mask and numbers in; a dict of vectors, scores and the best candidate's place out."""
    torch.manual_seed(1)

    def draw(generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        seen = int(torch.randint(3, HISTORY + 1, (1,), generator=generator))
        return (
            torch.randint(ITEMS, (1, HISTORY), generator=generator),
            torch.arange(HISTORY)[None] < seen,
            torch.randn(1, 5, generator=generator),
            torch.randint(ITEMS, (1, CANDIDATES), generator=generator, dtype=torch.int32),
        )

    return source(lively(TwoTower()), draw)


class TwoTower(nn.Module):
    """Both towers share the table of items."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(ITEMS, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norm = nn.LayerNorm(32)
        self.user = nn.Sequential(nn.Linear(37, 64), nn.GELU(), nn.Linear(64, 32))
        self.item = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, history: Tensor, watched: Tensor, context: Tensor, candidates: Tensor) -> dict[str, Tensor]:
        """``watched`` [1, HISTORY] is false for padding; ``candidates`` [1, CANDIDATES] are ids of items."""
        seen = self.items(history)
        attended, _ = self.attention(seen, seen, seen, key_padding_mask=~watched, need_weights=False)
        mixed = self.norm(seen + attended).masked_fill(~watched[..., None], 0.0)
        taste = mixed.sum(1) / watched.sum(1, keepdim=True)
        user = F.normalize(self.user(torch.cat([taste, context], 1)), dim=-1)
        items = F.normalize(self.item(self.items(candidates)), dim=-1)
        scores = (items @ user[..., None]).squeeze(-1)
        return {"user": user, "scores": scores, "best": scores.argmax(1), "good": scores > 0}
