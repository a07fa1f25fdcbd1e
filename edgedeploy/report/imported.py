"""A result of another tool in one line."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.domain.imported import Figures, Imported
from edgedeploy.report import units


def import_line(item: Imported) -> str:
    """``imported-1f2e…  2026-03-01 12:00:00 UTC  net on pixel8: mean 8.12 ms  (benchmark_model, old/log.txt:7)``."""
    place = f"{item.target} ({item.device})" if item.device else item.target
    moment = (
        units.moment(item.measured.measured_at) if item.measured.measured_at else f"imported {units.moment(item.imported_at)}"
    )
    figures = ", ".join(_figures(item.measured.figures))
    return f"{item.id}  {moment}  {item.model} on {place}: {figures}  ({item.tool}, {item.file}:{item.measured.line})"


def _figures(found: Figures) -> Iterator[str]:
    for name, time_ns in (("mean", found.iteration_mean_ns), ("p50", found.iteration_p50_ns), ("load", found.load_ns)):
        if time_ns is not None:
            yield f"{name} {units.duration(round(time_ns))}"
    if found.ttft_ns is not None:
        yield f"TTFT {units.duration(found.ttft_ns)}"
    prompt = f" ({found.prompt_tokens} tokens)" if found.prompt_tokens else ""
    generated = f" ({found.generated_tokens} tokens)" if found.generated_tokens else ""
    if found.prefill_tokens_per_s is not None:
        yield f"prefill {units.rate(found.prefill_tokens_per_s)}{prompt}"
    if found.decode_tokens_per_s is not None:
        yield f"decode {units.rate(found.decode_tokens_per_s)}{generated}"
    if found.tokens_per_s is not None:
        yield f"prompt and answer {units.rate(found.tokens_per_s)}"
    if found.peak_memory_bytes is not None:
        yield f"peak memory {units.size(round(found.peak_memory_bytes))}"
