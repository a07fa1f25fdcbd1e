"""What a language model is beside its inputs and outputs: a context, a cache, tokens in and tokens out."""

from __future__ import annotations

import math

import msgspec

from edgedeploy.domain.release import FileEntry


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens to begin with (``file``: int64, little-endian; ``tokens`` of them), and PyTorch's greedy ``answer``.

    Of the answer, the first ``decided`` tokens can be asked of an artifact: at the next one PyTorch's two best logits are so
    near to each other that rounding decides.
    """

    file: FileEntry
    tokens: int
    answer: tuple[int, ...]
    decided: int


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """A text for perplexity: ``file`` holds its tokens as a prompt's does.

    It is read in windows of ``window`` tokens that know nothing of each other; every token but a window's first is scored.
    ``nll`` is PyTorch's sum of negative log-likelihoods over the ``scored`` tokens, in nats.
    """

    file: FileEntry
    window: int
    scored: int
    nll: float


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an artifact a language model.

    Its one method takes ``tokens`` (int64 [1, n]) and their positions (int64 [n]), for n up to ``prefill_tokens``, and gives
    the logits of the last of them (float32 [1, ``vocabulary``]). Keys and values of up to ``context_length`` tokens stay
    inside, in ``kv_cache_bytes``. The first of ``prompts`` is the one that is measured.
    """

    architecture: str
    context_length: int
    prefill_tokens: int
    vocabulary: int
    end_tokens: tuple[int, ...]
    kv_cache_bytes: int
    prompts: tuple[Prompt, ...]
    text: Text | None = None


def kv_cache_bytes(*, layers: int, kv_heads: int, head_size: int, context_length: int, element_bytes: int = 4) -> int:
    """Bytes of a static cache: a key and a value of every head, layer and position, whether they are used or not."""
    return 2 * layers * kv_heads * head_size * context_length * element_bytes


def perplexity(nll: float, tokens: int) -> float:
    """The exponential of the mean negative log-likelihood per token, from a sum in nats."""
    return math.exp(min(nll / tokens, 700.0))  # above, a double has no number for it
