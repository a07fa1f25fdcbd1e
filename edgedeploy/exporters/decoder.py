"""A language model of transformers as a module that exports: tokens and positions in, the last logits out, a static cache inside.

Imports torch and transformers: load it when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from edgedeploy.source import LoadedLanguage

_NAME = "edgedeploy"


class Attention(Protocol):
    """How keys and values are kept and looked up. A cache is float [1, context length, heads of the cache, head size]."""

    def begin(self, positions: Tensor, context_length: int) -> object:
        """What all layers of one call share: a mask, say, or the first position as a number."""

    def store(self, cache: Tensor, new: Tensor, step: object) -> None:
        """Write ``new`` [1, tokens, heads, head size] into the cache, in place."""

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, step: object, scale: float) -> Tensor:
        """Attend from ``query`` [1, tokens, query heads, head size], to the same shape."""


class PlainAttention:
    """By PyTorch's own operators: what exports are compared with. Its cost grows with the cache's size, filled or not."""

    def begin(self, positions: Tensor, context_length: int) -> tuple[Tensor, Tensor]:
        """The positions, and which of the cache each of them sees."""
        return positions, torch.arange(context_length)[None] <= positions[:, None]

    def store(self, cache: Tensor, new: Tensor, step: object) -> None:
        """By ``index_copy_``."""
        positions, _ = _plain(step)
        cache.index_copy_(1, positions, new)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, step: object, scale: float) -> Tensor:
        """By ``scaled_dot_product_attention``; heads of the cache are repeated for the query heads that share them."""
        _, mask = _plain(step)
        repeats = query.shape[2] // keys.shape[2]
        key, value = (tensor.transpose(1, 2).repeat_interleave(repeats, dim=1) for tensor in (keys, values))
        found = nn.functional.scaled_dot_product_attention(query.transpose(1, 2), key, value, attn_mask=mask, scale=scale)
        return found.transpose(1, 2)


def _plain(step: object) -> tuple[Tensor, Tensor]:
    if not isinstance(step, tuple):
        raise TypeError("a step of another kind of attention")
    return step


@dataclass
class _Cache:
    """What transformers takes for its cache (only ``update`` is called), and what attention finds the step in."""

    decoder: Decoder
    step: object

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Keep keys and values [1, heads, tokens, head size]; the whole cache comes back."""
        key_cache, value_cache = self.decoder.caches(layer)
        self.decoder.attention.store(key_cache, keys.transpose(1, 2), self.step)
        self.decoder.attention.store(value_cache, values.transpose(1, 2), self.step)
        return key_cache, value_cache

    def get_seq_length(self, layer: int = 0) -> int:  # noqa: ARG002 - transformers' signature
        """Nothing that anything depends on: positions are given."""
        return 0


class Decoder(nn.Module):
    """``forward(tokens int64 [1, n], positions int64 [n]) -> logits float [1, vocabulary]`` of the last token.

    ``model`` stays as it was; its attention is replaced only while ``forward`` runs.
    """

    def __init__(self, model: nn.Module, language: LoadedLanguage) -> None:
        super().__init__()
        self.model = model
        self.attention: Attention = PlainAttention()
        self._context_length = language.context_length
        shape = (1, language.context_length, language.kv_heads, language.head_size)
        for layer in range(language.layers):
            for name in ("keys", "values"):
                self.register_buffer(f"{name}_{layer}", torch.zeros(shape), persistent=False)

    def caches(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer."""
        return self.get_buffer(f"keys_{layer}"), self.get_buffer(f"values_{layer}")

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Take in ``tokens``, which stand at ``positions`` (ascending by one)."""
        cache = _Cache(self, self.attention.begin(positions, self._context_length))
        with _replaced_attention(self.model):
            output = self.model(
                input_ids=tokens,
                position_ids=positions[None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                edgedeploy_cache=cache,
            )
        logits: Tensor = output.logits[:, -1]
        return logits


@contextmanager
def _replaced_attention(model: Any) -> Iterator[None]:
    before = model.config._attn_implementation  # noqa: SLF001 - there is no public name to read it by
    model.config._attn_implementation = _NAME  # noqa: SLF001
    try:
        yield
    finally:
        model.config._attn_implementation = before  # noqa: SLF001


def _attend(
    module: nn.Module,  # noqa: ARG001
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - none is made for an attention that transformers does not know
    *,
    scaling: float,
    edgedeploy_cache: _Cache,
    **_: object,
) -> tuple[Tensor, None]:
    attention = edgedeploy_cache.decoder.attention
    return attention.attend(query.transpose(1, 2), keys, values, edgedeploy_cache.step, scaling), None


AttentionInterface.register(_NAME, _attend)
