"""The output of llama.cpp's ``llama-bench``: ``-o json``, ``jsonl``, ``csv`` and ``md``.

Fields as ggml-org/llama.cpp writes them, ``tools/llama-bench/llama-bench.cpp`` (``test::get_fields``, ``markdown_printer``).
They change from version to version: n_prompt, n_gen, avg_ns and avg_ts have to be there (in Markdown: test and t/s), and of
the others some are kept as they are.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from edgedeploy.decoding import convert, decode
from edgedeploy.domain.imported import Figures, Measured
from edgedeploy.results.imports.content import Content

_WHOLE = "give the whole output of llama-bench -o json, jsonl, csv or md, and nothing else"
_KEPT = (
    *("build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "model_size"),
    *("model_n_params", "n_batch", "n_ubatch", "n_threads", "type_k", "type_v", "n_gpu_layers", "flash_attn"),
)
_INTEGERS = ("n_prompt", "n_gen", "n_depth", "avg_ns", "stddev_ns")
_RATES = ("avg_ts", "stddev_ts")
_MARKDOWN_TEST = re.compile(r"(?:pp ?(\d{1,9}))?\+?(?:tg ?(\d{1,9}))?(?: @ d(\d{1,9}))?")

_LONGEST_CELLS = 10_000

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
_Time = Annotated[int, msgspec.Meta(gt=0, le=10**18)]
_Rate = Annotated[float, msgspec.Meta(gt=0)]


class _Test(msgspec.Struct, frozen=True, kw_only=True):
    n_prompt: _Count
    n_gen: _Count
    n_depth: _Count = 0
    test_time: str = ""
    avg_ns: _Time
    stddev_ns: _Count | None = None
    avg_ts: _Rate
    stddev_ts: Annotated[float, msgspec.Meta(ge=0)] | None = None
    samples_ns: tuple[_Time, ...] = ()


def looks_like(content: Content) -> bool:
    """Whether the fields of llama-bench are named in it, or the columns of its Markdown."""
    text = content.text
    return ("n_prompt" in text and "n_gen" in text and "avg_ts" in text) or any(map(_is_markdown_head, content.lines))


def read(content: Content) -> tuple[Measured, ...]:
    """Every test in it.

    Raises:
        UsageError: the output is cut off, of a kind that is not read, or a figure is none.
    """
    begins = next((line.lstrip() for line in content.lines if line.strip()), "")
    if begins.startswith("["):
        found = tuple(_of_array(content))
    elif begins.startswith("{"):
        found = tuple(_of_lines(content))
    elif begins.startswith("build_commit,") or ",avg_ts" in begins:
        found = tuple(_of_csv(content))
    elif any(map(_is_markdown_head, content.lines)):
        found = tuple(_of_markdown(content))
    else:
        raise content.complaint(1, "this form of llama-bench's output is not read", begins, _WHOLE)
    if not found:
        raise content.complaint(len(content.lines), "llama-bench ended before its first result", content.beginning, _WHOLE)
    return found


def _of_array(content: Content) -> Iterator[Measured]:
    try:
        parts = decode(content.text, list[msgspec.Raw])
    except msgspec.DecodeError as error:
        raise content.complaint(_line_of(error, content), f"this is no JSON: {error}", _last_line(content), _WHOLE) from None
    at = 0
    for part in parts:
        document = bytes(part).decode()
        at = content.text.index(document, at)
        yield _of_document(content, content.line_at(at), document)
        at += len(document)


def _of_lines(content: Content) -> Iterator[Measured]:
    for line, text in enumerate(content.lines, 1):
        if text.strip():
            yield _of_document(content, line, text)


def _of_document(content: Content, line: int, document: str) -> Measured:
    try:
        test, said = decode(document, _Test), decode(document, dict[str, object])
    except msgspec.DecodeError as error:
        raise content.complaint(line, f"this is no result of llama-bench: {error}", document, _WHOLE) from None
    return _measured(content, line, test, {name: str(said[name]) for name in _KEPT if said.get(name) not in (None, "")})


def _of_csv(content: Content) -> Iterator[Measured]:
    first = next(index for index, line in enumerate(content.lines) if line.strip())
    rows = csv.reader(content.lines[first:], strict=True)
    try:
        names = next(rows)
        for row in rows:
            line = first + rows.line_num
            if not row:
                continue
            if len(row) != len(names):
                seen = f"{len(row)} of {len(names)} columns"
                raise content.complaint(line, "this line is cut off", seen, _WHOLE)
            yield _of_row(content, line, dict(zip(names, row, strict=True)))
    except csv.Error as error:
        raise content.complaint(first + rows.line_num, f"this is no CSV: {error}", _last_line(content), _WHOLE) from None


def _of_row(content: Content, line: int, row: dict[str, str]) -> Measured:
    values: dict[str, object] = {"test_time": row.get("test_time", "")}
    values |= {name: content.count(line, name, row[name]) for name in _INTEGERS if row.get(name)}
    values |= {name: content.number(line, name, row[name]) for name in _RATES if row.get(name)}
    try:
        test = convert(values, _Test)
    except msgspec.ValidationError as error:
        raise content.complaint(line, f"this is no result of llama-bench: {error}", content.lines[line - 1], _WHOLE) from None
    return _measured(content, line, test, {name: row[name] for name in _KEPT if row.get(name)})


def _measured(content: Content, line: int, test: _Test, facts: dict[str, str]) -> Measured:
    if not test.n_prompt and not test.n_gen:
        raise content.complaint(line, "n_prompt and n_gen are both 0", "", "leave this test out: it measured nothing")
    figures = _rated(test.n_prompt, test.n_gen, test.n_depth, test.avg_ts, test.stddev_ts)
    return Measured(
        line=line,
        figures=msgspec.structs.replace(
            figures,
            repetition_mean_ns=float(test.avg_ns),
            repetition_std_ns=None if test.stddev_ns is None else float(test.stddev_ns),
            repetitions_ns=test.samples_ns,
        ),
        facts=facts,
        measured_at=_moment(content, line, test.test_time),
    )


def _rated(prompt: int, generated: int, depth: int, rate: float, deviation: float | None) -> Figures:
    """Tokens per second as what they are: of a prompt, of what is generated, of both together."""
    return Figures(
        prompt_tokens=prompt or None,
        generated_tokens=generated or None,
        depth_tokens=depth or None,
        prefill_tokens_per_s=None if generated else rate,
        decode_tokens_per_s=None if prompt else rate,
        tokens_per_s=rate if prompt and generated else None,
        std_tokens_per_s=deviation,
    )


def _moment(content: Content, line: int, text: str) -> str:
    if not text:
        return ""
    try:
        moment = dt.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC).isoformat()
    except (ValueError, OverflowError):
        raise content.complaint(line, "test_time is no time", text, _WHOLE) from None


def _is_markdown_head(line: str) -> bool:
    cells = _cells(line)
    return "model" in cells and "test" in cells and "t/s" in cells


def _of_markdown(content: Content) -> Iterator[Measured]:
    names: Sequence[str] = ()
    for line, text in enumerate(content.lines, 1):
        cells = _cells(text)
        if _is_markdown_head(text):
            names = cells
        elif names and cells and not set(text) <= set("|-: "):
            if len(cells) != len(names):
                seen = f"{len(cells)} of {len(names)} columns"
                raise content.complaint(line, "this line is cut off", seen, _WHOLE)
            yield _of_cells(content, line, dict(zip(names, cells, strict=True)))


def _of_cells(content: Content, line: int, row: dict[str, str]) -> Measured:
    match = _MARKDOWN_TEST.fullmatch(row["test"])
    if match is None or not (match[1] or match[2]):
        raise content.complaint(
            line, "this is no test of llama-bench", row["test"], "pp512, tg128 or pp512+tg128 is what it writes"
        )
    prompt, generated, depth = (int(count or 0) for count in match.groups())
    mean, _, deviation = (part.strip() for part in row["t/s"].partition("±"))
    rate = content.number(line, "t/s", mean)
    if rate == 0 or not prompt + generated:
        raise content.complaint(line, "nothing was measured here", row["t/s"], "leave this line out")
    spread = content.number(line, "the deviation of t/s", deviation) if deviation else None
    facts = {name: value for name, value in row.items() if name not in {"test", "t/s"} and value}
    return Measured(line=line, figures=_rated(prompt, generated, depth, rate, spread), facts=facts)


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    if not stripped.startswith("|") or len(stripped) > _LONGEST_CELLS:
        return []
    return [cell.strip() for cell in stripped.strip("|").split("|")]


def _line_of(error: msgspec.DecodeError, content: Content) -> int:
    """On which line JSON breaks off; msgspec tells the byte."""
    match = re.search(r"\(byte (\d+)\)", str(error))
    if match is None:
        return len(content.lines)
    return content.text.encode()[: int(match[1])].count(b"\n") + 1


def _last_line(content: Content) -> str:
    return next((line for line in reversed(content.lines) if line.strip()), "")
