"""Files of other tools as results: one file per tool. Each complaint says file and line, what is there, and what to do."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgedeploy.domain.imported import TOOLS, Imported, Measured, Tool
from edgedeploy.errors import UsageError
from edgedeploy.results.imports import benchmark_model, llama_bench, observer
from edgedeploy.results.imports.content import Content

MOST_BYTES = 100_000_000

_LOOKS: dict[Tool, Callable[[Content], bool]] = {
    "benchmark_model": benchmark_model.looks_like,
    "executorch": observer.looks_like,
    "llama-bench": llama_bench.looks_like,
}
_READERS: dict[Tool, Callable[[Content], tuple[Measured, ...]]] = {
    "benchmark_model": benchmark_model.read,
    "executorch": observer.read,
    "llama-bench": llama_bench.read,
}


class Belongs(msgspec.Struct, frozen=True, kw_only=True):
    """What imported results are of."""

    project: str
    model: str
    target: str
    device: str = ""


def read_file(file: Path, tool: Tool | None, belongs: Belongs) -> tuple[Imported, ...]:
    """Every result in a file. The same file gives the same ids: importing it again adds nothing.

    Raises:
        UsageError: it cannot be read, is of no tool we know or of another one than ``tool``, or is damaged.
    """
    content = _open(file)
    found = tool or _detect(content)
    if not _LOOKS[found](content):
        others = [other for other in TOOLS if other != found and _LOOKS[other](content)]
        hint = f"it looks like {others[0]}'s: --format {others[0]}" if others else "give the file that the tool wrote, as it is"
        raise content.complaint(1, f"nothing in it was written by {found}", content.beginning, hint)
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return tuple(
        Imported(
            id=_id(content.sha256, belongs, position),
            created_at=measured.measured_at or now,
            imported_at=now,
            project=belongs.project,
            model=belongs.model,
            target=belongs.target,
            device=belongs.device,
            tool=found,
            file=str(file),
            sha256=content.sha256,
            measured=measured,
        )
        for position, measured in enumerate(_READERS[found](content))
    )


def _open(file: Path) -> Content:
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(
                "this is too large for a file of results",
                where=str(file),
                seen=f"{size / 1e6:.0f} MB; {MOST_BYTES / 1e6:.0f} MB are read at most",
                next_step="cut out the part that the tool wrote",
            )
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(
            "this file cannot be read",
            where=str(file),
            seen=error.strerror or str(error),
            next_step="give a file that you may read",
        ) from None
    return Content(str(file), data)


def _detect(content: Content) -> Tool:
    found = [tool for tool in TOOLS if _LOOKS[tool](content)]
    if not found:
        raise content.complaint(
            1,
            "no tool whose output we know has written this",
            content.beginning,
            f"give the output of one of {', '.join(TOOLS)} as it is; with llama-bench, of -o json, jsonl, csv or md",
        )
    if len(found) > 1:
        raise content.complaint(1, f"this has output of {' and '.join(found)}", "", f"say which is meant: --format {found[0]}")
    return found[0]


def _id(sha256: str, belongs: Belongs, position: int) -> str:
    said = [sha256, belongs.project, belongs.model, belongs.target, belongs.device, str(position)]
    return f"imported-{hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]}"
