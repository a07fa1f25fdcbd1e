"""``PyTorchObserver {…}``: the line with which ExecuTorch's runners of language models end, from a terminal or from logcat.

As pytorch/executorch, ``extension/llm/runner/stats.h`` (``stats_to_json_string``), writes it: moments in units of
1/``SCALING_FACTOR_UNITS_PER_SECOND`` seconds. Rates are computed from the moments, as that file does; older runners tell none.
A model that was loaded elsewhere has 0 for both moments of loading.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.domain.imported import Figures, Measured
from edgedeploy.results.imports.content import Content

_MARK = "PyTorchObserver "

_LONGEST_NS = 10**18

_Moment = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class _Stats(msgspec.Struct, frozen=True, kw_only=True):
    prompt_tokens: _Count
    generated_tokens: _Count
    model_load_start_ms: _Moment
    model_load_end_ms: _Moment
    inference_start_ms: _Moment
    inference_end_ms: _Moment
    prompt_eval_end_ms: _Moment
    first_token_ms: _Moment
    aggregate_sampling_time_ms: _Moment = 0
    SCALING_FACTOR_UNITS_PER_SECOND: Annotated[int, msgspec.Meta(gt=0)]


def looks_like(content: Content) -> bool:
    """Whether there is such a line."""
    return _MARK in content.text


def read(content: Content) -> tuple[Measured, ...]:
    """One result per line.

    Raises:
        UsageError: a line is cut off or has other names, or a moment is before one that came earlier.
    """
    return tuple(_results(content))


def _results(content: Content) -> Iterator[Measured]:
    for line, text in enumerate(content.lines, 1):
        _, mark, document = text.partition(_MARK)
        if not mark:
            continue
        try:
            stats = decode(document.strip(), _Stats)
        except msgspec.DecodeError as error:
            raise content.complaint(
                line,
                f"this line of PyTorchObserver cannot be read: {error}",
                text,
                "import the whole output of an ExecuTorch runner",
            ) from None
        yield Measured(line=line, figures=_figures(content, line, stats))


def _figures(content: Content, line: int, stats: _Stats) -> Figures:
    def between(start: str, end: str) -> int:
        began: int = getattr(stats, start)
        ended: int = getattr(stats, end)
        duration_ns = (ended - began) * 1_000_000_000 // stats.SCALING_FACTOR_UNITS_PER_SECOND
        if not 0 <= duration_ns <= _LONGEST_NS:
            next_step = "the clock was set meanwhile, or the run did not end well: leave this line out"
            raise content.complaint(line, f"{end} does not come after {start}", f"{began}, then {ended}", next_step)
        return duration_ns

    prefill_ns = between("inference_start_ms", "prompt_eval_end_ms")
    decode_ns = between("prompt_eval_end_ms", "inference_end_ms")
    return Figures(
        prompt_tokens=stats.prompt_tokens,
        generated_tokens=stats.generated_tokens,
        load_ns=between("model_load_start_ms", "model_load_end_ms") if stats.model_load_end_ms else None,
        ttft_ns=between("inference_start_ms", "first_token_ms") if stats.first_token_ms else None,
        prefill_tokens_per_s=stats.prompt_tokens * 1e9 / prefill_ns if prefill_ns else None,
        decode_tokens_per_s=stats.generated_tokens * 1e9 / decode_ns if decode_ns else None,
    )
