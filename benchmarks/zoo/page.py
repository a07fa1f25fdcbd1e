"""Writes the zoo's table for people: ``docs/zoo.md``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from table import NOT_RUN, Cell, Model, Problem, Zoo

FORMATS = {
    "executorch": ("ExecuTorch", "XNNPACK on this machine's CPU, run by ExecuTorch's own runtime."),
    "tflite": ("TFLite", "XNNPACK on this machine's CPU, run by LiteRT."),
    "coreml": ("Core ML", "For iOS 18. Nothing but Apple's systems runs these files: they were read back here, and not run."),
}
_NEARLY_ALL = 0.995
_SHOWN_IN_MB = 100_000

FAMILIES = {
    "vision": "Image classification",
    "dense": "Detection, segmentation, depth, super-resolution",
    "text": "Text",
    "audio": "Speech and sound",
    "sensors": "Series and tables",
    "graphs": "Points and graphs",
    "recommend": "Recommendation",
    "eager_quantized": "Quantized by PyTorch before",
}


def page(zoo: Zoo) -> str:
    """The whole page."""
    formats = [name for name in FORMATS if any(cell.exporter == name for cell in zoo.cells)]
    parts = [_head(zoo, formats), _summary(zoo, formats)]
    parts += [_table(zoo, name) for name in formats]
    parts += [_problems(zoo, formats), _models(zoo)]
    return "\n\n".join(parts) + "\n"


def _head(zoo: Zoo, formats: Sequence[str]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in zoo.toolchain.items())
    return f"""# The zoo

{len(zoo.models)} architectures through {len(formats)} formats: what works, what does not, and what to do then. The models are in
[examples/zoo](../examples/zoo): real structures, small, with random weights but for two; every cell is an export by
edgedeploy with its default floors. `make zoo` makes this page and [zoo.json](zoo.json), which has all figures, again;
`make zoo MODEL=vit` one row.

Made on {zoo.date} on {zoo.machine}, Python {zoo.python}, edgedeploy {zoo.edgedeploy}: {versions}.

A figure in dB is the SQNR of the worst output against PyTorch, on golden inputs; 999 is identical. **acc** is a file that was
made and refused because it computes something else (random weights are the hardest case for few bits). **✗** could not be
made, or not be run. ✓ is {NOT_RUN}: written, read back and inspected. *del.* is the share of multiply-accumulates that
the delegate takes, where that is not all."""


def _summary(zoo: Zoo, formats: Sequence[str]) -> str:
    lines = ["## What works", "", "| format | precision | works | refused as inaccurate | not made |", "|---|---|---|---|---|"]
    for name in formats:
        for precision in _precisions(zoo.cells, name):
            cells = [cell for cell in zoo.cells if (cell.exporter, cell.precision) == (name, precision)]
            works = sum(cell.works for cell in cells)
            inaccurate = sum(cell.status == "inaccurate" for cell in cells)
            title = FORMATS[name][0]
            share = f"{works} of {len(cells)} ({100 * works / len(cells):.0f} %)"
            lines.append(f"| {title} | {precision} | {share} | {inaccurate} | {len(cells) - works - inaccurate} |")
    return "\n".join(lines)


def _table(zoo: Zoo, exporter: str) -> str:
    title, what = FORMATS[exporter]
    precisions = _precisions(zoo.cells, exporter)
    lines = [f"## {title}", "", what, "", f"| | {' | '.join(precisions)} |", "|---" * (len(precisions) + 1) + "|"]
    cells = {(cell.model, cell.precision): cell for cell in zoo.cells if cell.exporter == exporter}
    for family, models in _families(zoo.models):
        lines.append(f"| **{FAMILIES.get(family, family)}** |{' |' * len(precisions)}")
        for model in models:
            shown = [_shown(cells.get((model.name, precision))) for precision in precisions]
            lines.append(f"| {model.name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.status == "inaccurate":
        return "**acc**" if cell.sqnr_db is None else f"**acc** {cell.sqnr_db:.0f} dB"
    if cell.status == "refused":
        return "**✗**"
    text = "✓" if cell.sqnr_db is None else f"{cell.sqnr_db:.0f} dB"
    size = f", {_size(cell.size_bytes)}" if cell.size_bytes else ""
    share = cell.delegated_share
    return text + size + ("" if share is None or share > _NEARLY_ALL else f", {100 * share:.0f} % *del.*")


def _problems(zoo: Zoo, formats: Sequence[str]) -> str:
    lines = ["## What does not work, and what to do"]
    for name in formats:
        alike: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
        for cell in zoo.cells:
            if cell.exporter == name and cell.problem is not None:
                alike[_key(cell.problem)].append(cell)
        lines += ["", f"### {FORMATS[name][0]}", ""]
        if not alike:
            lines.append("Nothing.")
        for cells in sorted(alike.values(), key=lambda cells: (-len(cells), cells[0].model)):
            problem = cells[0].problem
            if problem is not None:
                lines.append(f"- {_cells(cells)}: {_text(problem)}")
    return "\n".join(lines)


def _key(problem: Problem) -> tuple[str, ...]:
    if problem.kind == "VerifyError":
        return (problem.kind, problem.seen, problem.next_step)
    return (problem.kind, problem.what, problem.next_step)


def _cells(cells: Sequence[Cell]) -> str:
    by_model: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        by_model[cell.model].append(cell.precision)
    return "; ".join(f"**{model}** {', '.join(precisions)}" for model, precisions in by_model.items())


def _text(problem: Problem) -> str:
    what = "the export does not compute what PyTorch computes" if problem.kind == "VerifyError" else problem.what
    where = f" ({_quoted(problem.where)})" if problem.where and problem.kind != "VerifyError" else ""
    seen = f" Seen: {_quoted(problem.seen)}." if problem.seen else ""
    return f"{what}{where}.{seen} Next: {_quoted(problem.next_step)}."


def _quoted(text: str) -> str:
    """One line that Markdown leaves alone."""
    line = " ".join(text.split())[:300].rstrip(".")
    return f"`` {line} ``" if "`" in line else f"`{line}`"


def _models(zoo: Zoo) -> str:
    lines = ["## The models", "", "| model | parameters | what it is |", "|---|---|---|"]
    for _, models in _families(zoo.models):
        lines += [f"| {m.name} | {'' if m.parameters is None else f'{m.parameters / 1e6:.2f} M'} | {m.title} |" for m in models]
    return "\n".join(lines)


def _precisions(cells: Iterable[Cell], exporter: str) -> list[str]:
    return list(dict.fromkeys(cell.precision for cell in cells if cell.exporter == exporter))


def _families(models: Iterable[Model]) -> list[tuple[str, list[Model]]]:
    families: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        families[model.family].append(model)
    return list(families.items())


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= _SHOWN_IN_MB else f"{size_bytes / 1e3:.0f} kB"
