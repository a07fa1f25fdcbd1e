"""Trains a very small language model on Python's own documentation and saves it as a Hugging Face folder.

    python make_model.py model                        # a Llama of 0.9 million parameters, about two minutes of one core
    python make_model.py model --architecture qwen3

The folder then holds what a downloaded model has (config.json, model.safetensors, tokenizer.json), and beside it lies
`held-out.txt`: text that the model has not seen, on which perplexity is measured.
"""

import argparse
import math
import pydoc_data.topics
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

ARCHITECTURES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}
BEGIN, END = "<begin>", "<end>"
BATCH, LENGTH = 16, 96  # sequences of a training step, and tokens of each


def texts():
    """Topics to learn from, and every twelfth apart."""
    topics = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    return [t for i, t in enumerate(topics) if i % 12], [t for i, t in enumerate(topics) if i % 12 == 0]


def train_tokenizer(corpus, vocabulary):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END)


def make_model(architecture, tokenizer, hidden, layers):
    config_class, model_class = ARCHITECTURES[architecture]
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model_class(config)


def train(model, ids, steps, seed=0):
    """AdamW with a cosine schedule; returns the loss of the last steps, in nats per token."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 20) * (0.05 + 0.95 * (1 + math.cos(math.pi * step / steps)) / 2)
    )
    losses = []
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - LENGTH - 1, (BATCH,), generator=generator)
        batch = torch.stack([ids[start : start + LENGTH] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return sum(losses[-20:]) / len(losses[-20:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="llama")
    parser.add_argument("--hidden", type=int, default=192, help="a multiple of 64")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=1536)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()

    began = time.monotonic()
    torch.manual_seed(0)
    learned, held_out = texts()
    tokenizer = train_tokenizer(learned, arguments.vocabulary)
    model = make_model(arguments.architecture, tokenizer, arguments.hidden, arguments.layers)
    ids = torch.tensor([i for text in learned for i in [tokenizer.bos_token_id, *tokenizer.encode(text), tokenizer.eos_token_id]])
    loss = train(model, ids, arguments.steps)
    model.eval().save_pretrained(arguments.folder)
    tokenizer.save_pretrained(arguments.folder)
    (arguments.folder.parent / "held-out.txt").write_text("\n".join(held_out), encoding="utf-8")
    print(
        f"{model.num_parameters():,} parameters, {len(ids):,} tokens, training perplexity {math.exp(loss):.1f}, "
        f"{time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
