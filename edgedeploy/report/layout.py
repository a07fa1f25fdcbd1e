"""How reports look on a terminal: one kind of table, one colour per verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedeploy.domain.result import RunResult
from edgedeploy.domain.verdict import Status

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_STYLES: dict[Status, str] = {
    "pass": "bold green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "error": "bold red",
    "unmeasured": "bold cyan",
    "passed over": "dim",
}
_UNBOUNDED = 10_000


def empty_table() -> Table:
    """A table with a line under its head and nothing else around: it survives being copied into a chat."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def verdict_text(run: RunResult, separator: str = ", ") -> Text:
    """The verdict in its colour, marked where another session of the artifact says otherwise."""
    text = status_text(run.verdict.status)
    if any(remark.kind == "unstable" for remark in run.remarks):
        text.append(f"{separator}unstable", style="yellow")
    return text


def status_text(status: Status) -> Text:
    """A status in its colour."""
    from rich.text import Text

    return Text(status, style=_STYLES[status])


def fits(renderable: RenderableType, console: Console) -> bool:
    """Whether nothing in it has to be folded at the console's width."""
    boundless = console.options.update(max_width=_UNBOUNDED)
    return console.measure(renderable, options=boundless).maximum <= console.width
