"""Runs a language model token by token, and compares what it says with what PyTorch says."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgedeploy.agreement import same_tokens
from edgedeploy.domain.artifact import Method
from edgedeploy.domain.language import Language, Prompt, Text, perplexity
from edgedeploy.domain.measurement import LanguageAgreement, Perplexity
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError
from edgedeploy.ports import Connection, Launch, Talk
from edgedeploy.runners.document import LanguageDocument
from edgedeploy.stages.execute import Placed, start


def answer(
    connection: Connection,
    placed: Placed,
    language: Language,
    policy: MeasurePolicy,
    prompts: Sequence[Prompt],
    text: Text | None,
) -> LanguageDocument:
    """One fresh process of the runner that answers ``prompts`` as long as PyTorch did, and scores ``text``.

    Raises:
        RunnerError: it failed, or answered another number of prompts.
        DeviceLostError: the device went away.
    """
    launch = conversation(placed, language, policy, prompts, text)
    document = start(connection, placed, launch, LanguageDocument)
    scored = document.score.tokens if document.score else 0
    if len(document.generation) != len(prompts) or scored != (text.scored if text else 0):
        raise RunnerError(
            "the runner did not do all that it was asked for",
            where=placed.device,
            seen=f"{len(document.generation)} of {len(prompts)} prompts, {scored} tokens scored",
            next_step="report it as a bug of the runner",
        )
    return document


def conversation(
    placed: Placed, language: Language, policy: MeasurePolicy, prompts: Sequence[Prompt], text: Text | None
) -> Launch:
    """What a runner is told, to answer ``prompts`` as long as PyTorch did, and to score ``text``."""
    method: Method = placed.artifact.methods[0]
    return Launch(
        model=f"{placed.artifact_dir}/{placed.artifact.entry}",
        method=method.entry,
        inputs=(),
        input_files=(),
        output_dir=placed.scratch,
        policy=policy,
        talk=Talk(
            prompts=tuple(f"{placed.artifact_dir}/{prompt.file.path}" for prompt in prompts),
            generate_tokens=max(len(prompt.answer) for prompt in prompts),
            prefill_tokens=language.prefill_tokens,
            text=f"{placed.artifact_dir}/{text.file.path}" if text else "",
            window=text.window if text else 0,
        ),
    )


def agreed(document: LanguageDocument, prompts: Sequence[Prompt], text: Text | None) -> LanguageAgreement:
    """What a document says, against PyTorch's answers to the same prompts and its likelihood of the same text."""
    found = same_tokens(
        [generated.tokens for generated in document.generation], [prompt.answer[: prompt.decided] for prompt in prompts]
    )
    if text is None or document.score is None:
        return found
    return msgspec.structs.replace(
        found,
        perplexity=Perplexity(
            pytorch=perplexity(text.nll, text.scored),
            artifact=perplexity(document.score.nll, document.score.tokens),
            tokens=text.scored,
        ),
    )
