"""Loads a language model from a Hugging Face folder, and records what PyTorch says token by token.

Nothing is downloaded, no code of the folder runs, and pickled weights are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgedeploy.deploy.digest import entries_of
from edgedeploy.domain.language import Language, Prompt, Text, kv_cache_bytes
from edgedeploy.domain.project import LanguageConfig
from edgedeploy.domain.release import FileEntry
from edgedeploy.errors import ConfigError, MissingToolError, ModelError
from edgedeploy.source import LoadedLanguage, LoadedMethod, LoadedModel
from edgedeploy.worker.job import SourceJob
from edgedeploy.worker.loading import MAIN_METHOD, require_finite

if TYPE_CHECKING:
    from torch import Tensor

    from edgedeploy.exporters.decoder import Decoder

CONFIG_FILE = "config.json"
_TOKENIZER_FILE = "tokenizer.json"
_FILES = (
    CONFIG_FILE,
    "generation_config.json",
    _TOKENIZER_FILE,
    "tokenizer_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
)

# Their attention goes through transformers' attention interface and has no window; each is tested against transformers.
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
# Others choose their frequencies by the length of the prompt, which a graph cannot.
_ROTATIONS = ("default", "linear", "llama3", "yarn")
_CONTEXT_LENGTH = 2048
# Memory for activations is planned for the longest call.
_PREFILL_TOKENS = 128
# Golden inputs: one call with a prompt's first tokens, and so many of one token each, from position 0 on.
_GOLDEN_STEPS = 8
# Logits nearer to each other than this, relative to the largest, are ordered by rounding.
_TIE = 1e-4
_PROMPTS = (
    "The purpose of this function is to",
    "In the beginning, there was nothing but a long list of words, and nobody knew",
    "A class definition may contain statements and expressions. For example,",
)


def is_language(job: SourceJob) -> bool:
    """Whether the job's source is a folder with a ``config.json``."""
    return Path(job.project_root, job.model.source, CONFIG_FILE).is_file()


def named_files(folder: Path, config: LanguageConfig, project_root: Path) -> tuple[Path, ...]:
    """The files that decide what a language model is, and the text it is scored on."""
    text = (project_root / config.perplexity_text,) if config.perplexity_text else ()
    return (*sorted(path for pattern in _FILES for path in folder.glob(pattern)), *text)


def load_language(job: SourceJob) -> LoadedModel:
    """The model of a Hugging Face folder in float32, with golden inputs from its prompts.

    Raises:
        ConfigError: the project file asks for what the model cannot do.
        ModelError: another architecture, pickled weights, a folder that transformers cannot read.
        MissingToolError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingToolError(
            "language models are read by transformers",
            seen=str(error),
            next_step="pip install 'edgedeploy[llm]'",
        ) from error
    import torch

    from edgedeploy.exporters.decoder import Decoder

    folder = Path(job.project_root, job.model.source)
    key = f"{job.project_file}: models.{job.model_name}"
    config = job.model.language or LanguageConfig()
    settings = _checked_settings(folder, key)
    transformers.utils.logging.disable_progress_bar()
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except Exception as error:
        raise ModelError(
            "transformers cannot load the folder",
            where=f"{key}.source",
            seen=f"{type(error).__name__}: {error}"[:500],
            next_step=f"try it alone: AutoModelForCausalLM.from_pretrained({str(folder)!r})",
        ) from error
    model.eval()
    require_finite(model, f"{key}.source")
    language = _language(model.config, str(settings["model_type"]), folder, config, Path(job.project_root), key)
    first = torch.tensor([language.prompts[0][: language.prefill_tokens]])
    positions = torch.arange(first.shape[1])
    steps = [(first[:, at : at + 1], positions[at : at + 1]) for at in range(min(_GOLDEN_STEPS, first.shape[1]))]
    tokens = torch.export.Dim("tokens", min=1, max=language.prefill_tokens)
    main = LoadedMethod(
        name=MAIN_METHOD,
        module=Decoder(model, language).eval(),
        example_inputs=(first, positions),
        golden_inputs=((first, positions), *steps),
        calibration=((first, positions),),
        dynamic_shapes=({1: tokens}, {0: tokens}),
    )
    return LoadedModel(name=job.model_name, methods=(main,), user_root=job.project_root, language=language)


def _checked_settings(folder: Path, key: str) -> Mapping[str, object]:
    """``config.json``, of a model that is known to export."""
    file = folder / CONFIG_FILE
    try:
        settings = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("the model's config.json cannot be read", where=str(file), seen=str(error)) from error
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind not in _ARCHITECTURES:
        raise ModelError(
            "not a language model that edgedeploy exports",
            where=f"{key}.source",
            seen=f"model_type {kind!r} in {CONFIG_FILE}; known: {', '.join(_ARCHITECTURES)}",
            next_step="use a model of a known architecture, or write a model source in Python that returns a module",
        )
    if settings.get("quantization_config"):
        raise ModelError(
            "the weights are quantized already",
            where=f"{key}.source",
            seen=f"quantization_config in {CONFIG_FILE}",
            next_step="use the original weights in float: the recipe's precision quantizes them",
        )
    if settings.get("use_sliding_window"):
        raise ModelError("attention with a sliding window is not exported", where=f"{key}.source", seen="use_sliding_window")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            "there are no weights as .safetensors",
            where=str(folder),
            seen=", ".join(sorted(path.name for path in folder.iterdir()))[:300],
            next_step="pickled weights are not loaded, because they run code: save them with safe_serialization=True",
        )
    return cast("Mapping[str, object]", settings)


def _language(
    settings: Any, architecture: str, folder: Path, config: LanguageConfig, project_root: Path, key: str
) -> LoadedLanguage:
    rotation = (getattr(settings, "rope_parameters", None) or {}).get("rope_type", "default")
    if rotation not in _ROTATIONS:
        raise ModelError(
            "the rotary embedding depends on the length of the prompt",
            where=f"{key}.source",
            seen=f"rope_type {rotation!r}; known: {', '.join(_ROTATIONS)}",
        )
    limit = int(settings.max_position_embeddings)
    context_length = config.context_length or min(_CONTEXT_LENGTH, limit)
    if context_length > limit:
        raise ConfigError(
            f"the model was made for {limit} tokens",
            where=f"{key}.language.context_length",
            seen=str(context_length),
            next_step=f"give at most {limit}",
        )
    encoded = _encoded(folder, config, project_root, key)
    longest = context_length - config.generate_tokens
    prompts = ((_repeated(encoded.text or encoded.prompts[0], config.prompt_tokens)), *encoded.prompts)
    if max(map(len, prompts)) > longest:
        raise ConfigError(
            "a prompt and its answer do not fit into the context",
            where=f"{key}.language",
            seen=f"{max(map(len, prompts))} + {config.generate_tokens} tokens, context_length {context_length}",
            next_step="give a larger context_length, or smaller prompt_tokens and generate_tokens",
        )
    ends = settings.eos_token_id
    return LoadedLanguage(
        architecture=architecture,
        vocabulary=int(settings.vocab_size),
        end_tokens=tuple(ends) if isinstance(ends, list | tuple) else (() if ends is None else (int(ends),)),
        begin_token=None if settings.bos_token_id is None else int(settings.bos_token_id),
        layers=int(settings.num_hidden_layers),
        kv_heads=int(settings.num_key_value_heads),
        head_size=int(getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads),
        context_length=context_length,
        prefill_tokens=min(_PREFILL_TOKENS, context_length),
        prompts=prompts,
        generate_tokens=config.generate_tokens,
        text=encoded.text[: config.perplexity_tokens],
    )


@dataclass(frozen=True)
class _Encoded:
    prompts: tuple[tuple[int, ...], ...]
    text: tuple[int, ...]


def _encoded(folder: Path, config: LanguageConfig, project_root: Path, key: str) -> _Encoded:
    from tokenizers import Tokenizer

    file = folder / _TOKENIZER_FILE
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise ModelError(
            "the tokenizer cannot be read",
            where=str(file),
            seen=str(error)[:300],
            next_step="the folder needs a tokenizer.json: AutoTokenizer.from_pretrained(…).save_pretrained(…) writes one",
        ) from error
    text: tuple[int, ...] = ()
    if config.perplexity_text:
        place = project_root / config.perplexity_text
        try:
            content = place.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("the text cannot be read", where=f"{key}.language.perplexity_text", seen=str(error)) from error
        text = tuple(tokenizer.encode(content).ids)
        if len(text) < 2:  # noqa: PLR2004 - the first token is not scored
            raise ConfigError("the text is shorter than two tokens", where=f"{key}.language.perplexity_text", seen=str(place))
    prompts = tuple(tuple(tokenizer.encode(prompt).ids) for prompt in config.prompts or _PROMPTS)
    if not all(prompts):
        raise ConfigError("a prompt has no token", where=f"{key}.language.prompts")
    return _Encoded(prompts=prompts, text=text)


def _repeated(tokens: Sequence[int], count: int) -> tuple[int, ...]:
    return tuple((list(tokens) * (count // len(tokens) + 1))[:count])


@dataclass(frozen=True, kw_only=True)
class Said:
    """PyTorch's greedy answer to every prompt, how much of it is no tie, and the likelihood of the text."""

    answers: tuple[tuple[int, ...], ...]
    decided: tuple[int, ...]
    nll: float
    scored: int


def listen(model: LoadedModel, language: LoadedLanguage) -> Said:
    """Let transformers' own model, with its own cache, answer the prompts and score the text. Cost: a forward per token."""
    import torch

    decoder = cast("Decoder", model.main.module)
    with torch.no_grad():
        answers = [_answer(decoder.model, prompt, language.generate_tokens) for prompt in language.prompts]
        nll, scored = _score(decoder.model, language.text, language.context_length)
    return Said(
        answers=tuple(tokens for tokens, _ in answers), decided=tuple(count for _, count in answers), nll=nll, scored=scored
    )


def _answer(model: Any, prompt: Sequence[int], count: int) -> tuple[tuple[int, ...], int]:
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    tokens: list[int] = []
    decided: int | None = None
    fed = torch.tensor([prompt])
    while len(tokens) < count:
        logits: Tensor = model(input_ids=fed, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
        best = logits.topk(2).values
        if decided is None and float(best[0] - best[1]) <= _TIE * float(logits.abs().max()):
            decided = len(tokens)
        tokens.append(int(logits.argmax()))
        fed = torch.tensor([tokens[-1:]])
    return tuple(tokens), count if decided is None else decided


def _score(model: Any, text: Sequence[int], window: int) -> tuple[float, int]:
    import torch

    total, scored = 0.0, 0
    for at in range(0, len(text), window):
        part = torch.tensor([text[at : at + window]])
        if part.shape[1] > 1:
            logits = model(input_ids=part[:, :-1], use_cache=False).logits[0]
            total += float(torch.nn.functional.cross_entropy(logits.double(), part[0, 1:], reduction="sum"))
            scored += part.shape[1] - 1
    return total, scored


def write_language(folder: Path, language: LoadedLanguage, said: Said) -> Language:
    """Write prompts and text below ``folder``, and describe them."""
    target = folder / "language"
    target.mkdir()
    text = None
    if language.text:
        text = Text(
            file=_write(target / "text.bin", language.text), window=language.context_length, scored=said.scored, nll=said.nll
        )
    return Language(
        architecture=language.architecture,
        context_length=language.context_length,
        prefill_tokens=language.prefill_tokens,
        vocabulary=language.vocabulary,
        end_tokens=language.end_tokens,
        kv_cache_bytes=kv_cache_bytes(
            layers=language.layers,
            kv_heads=language.kv_heads,
            head_size=language.head_size,
            context_length=language.context_length,
        ),
        prompts=tuple(
            Prompt(file=_write(target / f"prompt_{number}.bin", prompt), tokens=len(prompt), answer=answer, decided=decided)
            for number, (prompt, answer, decided) in enumerate(zip(language.prompts, said.answers, said.decided, strict=True))
        ),
        text=text,
    )


def _write(file: Path, tokens: Sequence[int]) -> FileEntry:
    import msgspec

    file.write_bytes(np.array(tokens, dtype="<i8").tobytes())
    (entry,) = entries_of(file)
    return msgspec.structs.replace(entry, path=f"{file.parent.name}/{file.name}")
