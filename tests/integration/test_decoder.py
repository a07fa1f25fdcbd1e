"""The module that is exported, against transformers' own model with its own cache, on random weights."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="needs edgedeploy[llm]")

pytestmark = pytest.mark.sdk

CONTEXT = 40
# By name, as transformers calls the configuration's class.
ARCHITECTURES = {"llama": "LlamaConfig", "qwen2": "Qwen2Config", "qwen3": "Qwen3Config"}


def build(architecture: str, *, tied: bool) -> Any:
    torch.manual_seed(3)
    config = getattr(transformers, ARCHITECTURES[architecture])(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def decoder_of(model: Any) -> Any:
    from edgedeploy.exporters.decoder import Decoder
    from edgedeploy.source import LoadedLanguage

    language = LoadedLanguage(
        architecture="any",
        vocabulary=50,
        end_tokens=(),
        begin_token=None,
        layers=2,
        kv_heads=2,
        head_size=8,
        context_length=CONTEXT,
        prefill_tokens=16,
        prompts=((1,),),
        generate_tokens=2,
    )
    return Decoder(model, language).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_whole_text_at_once(architecture: str, tied: bool) -> None:
    model = build(architecture, tied=tied)
    decoder = decoder_of(model)
    tokens = torch.randint(0, 50, (1, CONTEXT))
    with torch.no_grad():
        expected = model(input_ids=tokens, use_cache=False).logits[0]
        for first, last in ((0, 7), (7, 16), *((at, at + 1) for at in range(16, CONTEXT))):
            found = decoder(tokens[:, first:last], torch.arange(first, last))
            torch.testing.assert_close(found[0], expected[last - 1], rtol=1e-4, atol=1e-5)


def test_what_an_earlier_prompt_left_in_the_cache_is_not_seen() -> None:
    decoder = decoder_of(build("llama", tied=True))
    tokens, positions = torch.randint(0, 50, (1, 10)), torch.arange(10)
    with torch.no_grad():
        fresh = decoder(tokens, positions)
        decoder(torch.randint(0, 50, (1, CONTEXT)), torch.arange(CONTEXT))
        assert torch.equal(decoder(tokens, positions), fresh)


def test_the_users_model_keeps_its_own_attention() -> None:
    model = build("qwen3", tied=True)
    tokens = torch.randint(0, 50, (1, 10))
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        decoder_of(model)(tokens, torch.arange(10))
        assert torch.equal(model(input_ids=tokens).logits, before)
