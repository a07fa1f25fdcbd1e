"""What another tool measured: beside our own results, never mixed with them. No series, gate or budget sees it."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Tool = Literal["benchmark_model", "executorch", "llama-bench"]
TOOLS: tuple[Tool, ...] = get_args(Tool)


class Figures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a tool tells, converted to our units; None: it does not.

    Of ``benchmark_model``: ``iteration_*``, ``warmup_mean_ns``, ``peak_memory_bytes``, and ``memory_grown_bytes`` since it began.
    Of language models a repetition is one prompt, one generation, or, where a test of llama-bench has both, one after the other
    (``tokens_per_s``). ``depth_tokens`` were in the cache before.
    """

    iterations: int | None = None
    iteration_mean_ns: float | None = None
    iteration_p5_ns: float | None = None
    iteration_p50_ns: float | None = None
    iteration_p95_ns: float | None = None
    iteration_min_ns: float | None = None
    iteration_max_ns: float | None = None
    iteration_std_ns: float | None = None
    load_ns: float | None = None
    first_inference_ns: float | None = None
    warmup_mean_ns: float | None = None
    peak_memory_bytes: float | None = None
    memory_grown_bytes: float | None = None
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    depth_tokens: int | None = None
    ttft_ns: int | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    tokens_per_s: float | None = None
    std_tokens_per_s: float | None = None
    repetition_mean_ns: float | None = None
    repetition_std_ns: float | None = None
    repetitions_ns: tuple[int, ...] = ()


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One result in a file, and the ``line`` on which it is. ``facts`` are what else the tool said, by its own names."""

    line: int
    figures: Figures
    facts: dict[str, str] = {}
    measured_at: str = ""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A result of another tool. ``file`` is what the file was called, ``sha256`` that of its content.

    ``created_at`` is when it was measured, as the tool tells; where it does not, when it was imported.
    """

    id: str
    created_at: str
    imported_at: str
    project: str
    model: str
    target: str
    device: str = ""
    tool: Tool
    file: str
    sha256: str
    measured: Measured
