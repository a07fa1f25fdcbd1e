"""What is computed and said about language models without one."""

from __future__ import annotations

import math

import pytest

from edgedeploy.domain.language import kv_cache_bytes, perplexity
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import Launch, Talk
from edgedeploy.runtimes.launch import command


def test_the_cache_of_a_known_model() -> None:
    # Llama 3.2 1B: 16 layers, 8 heads of 64 for keys and values. In half precision its cache takes 32 KiB per token.
    assert kv_cache_bytes(layers=16, kv_heads=8, head_size=64, context_length=1, element_bytes=2) == 32 * 1024
    assert kv_cache_bytes(layers=16, kv_heads=8, head_size=64, context_length=2048) == 128 * 1024**2


@pytest.mark.parametrize("vocabulary", [2, 50_000])
def test_perplexity_of_a_model_that_knows_nothing_is_its_vocabulary(vocabulary: int) -> None:
    assert perplexity(1000 * math.log(vocabulary), 1000) == pytest.approx(vocabulary)


def test_perplexity_has_a_number_for_everything() -> None:
    assert perplexity(0.0, 3) == 1.0
    assert math.isfinite(perplexity(1e300, 1))


def _command(talk: Talk) -> list[str]:
    launch = Launch(
        model="/m.pte", method="forward", inputs=(), input_files=(), output_dir="/o", policy=MeasurePolicy(threads=2), talk=talk
    )
    bundle = RunnerBundle(name="native", files=(), start=("{dir}/runner",))
    return list(command(bundle, launch, runner_dir="/r", python="python3"))


def test_a_runner_is_told_to_answer_and_to_score() -> None:
    words = _command(Talk(prompts=("/a", "/b"), generate_tokens=8, prefill_tokens=16, text="/t", window=64))
    text = " ".join(words)
    assert "--prompt /a --prompt /b --generate 8 --prefill 16 --score /t --window 64" in text
    assert "--threads 2" in text
    assert "--input" not in words


def test_what_is_not_asked_for_is_not_said() -> None:
    assert "--score" not in _command(Talk(prompts=("/a",), generate_tokens=8, prefill_tokens=16))
    assert "--generate" not in _command(Talk(prefill_tokens=16, text="/t", window=64))
