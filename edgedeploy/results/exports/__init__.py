"""Results in the formats of other tools. Pure; what was not measured is absent from a document, never a zero.

One file per format, with where the format is defined: ``takes`` says which runs it has a place for, ``render`` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import msgspec

from edgedeploy.domain.result import RunResult
from edgedeploy.results.exports import llama_bench, mlperf, oss_v3, table, tflite

Format = Literal["oss-v3", "tflite", "mlperf", "csv", "llama-bench"]
FORMATS: tuple[Format, ...] = get_args(Format)

_Takes = Callable[[RunResult], bool]
_Render = Callable[[Sequence[RunResult]], str]
_WRITERS: dict[Format, tuple[_Takes, _Render]] = {
    "oss-v3": (oss_v3.takes, oss_v3.render),
    "tflite": (tflite.takes, tflite.render),
    "mlperf": (mlperf.takes, mlperf.render),
    "csv": (table.takes, table.render),
    "llama-bench": (llama_bench.takes, llama_bench.render),
}


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """A text that ends with a newline, of ``runs`` runs; ``left_out`` are ids of those that the format has no place for."""

    text: str
    runs: int
    left_out: tuple[str, ...]


def export(kind: Format, runs: Sequence[RunResult]) -> Export:
    """Runs in a format, in the order given. Only our own table knows other modes of measuring than ``single``."""
    takes, render = _WRITERS[kind]

    def fits(run: RunResult) -> bool:
        return takes(run) and (kind == "csv" or run.mode == "single")

    taken = [run for run in runs if fits(run)]
    return Export(text=render(taken), runs=len(taken), left_out=tuple(run.id for run in runs if not fits(run)))
