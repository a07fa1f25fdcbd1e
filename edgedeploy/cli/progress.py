"""Shows events on stderr: bars on a terminal, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from edgedeploy.domain.events import Event, Finished, Note, Progress, Sink, Started
from edgedeploy.terminal import making_room

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Sink]:
    """A sink for the time of a long call."""
    if quiet:
        yield lambda _event: None
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bars() as sink:
            yield sink
    else:
        yield _Lines()


class _Lines:
    """One line when a stage ends, and one for every slow step: what a log wants."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, event: Event) -> None:
        match event:
            case Finished():
                self._say(f"{event.stage:<8} {event.subject}: {'cached, ' if event.cached else ''}{event.text}")
            case Progress(unit="steps", text=text) if text and event.total == 0:
                self._say(f"{event.stage:<8} {event.subject}: {text} …")
            case Note():
                self._say(f"{event.level}: {event.text}")
            case _:
                pass

    def _say(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._started:6.1f} s] {text}", err=True)


@contextmanager
def _bars() -> Iterator[Sink]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[stage]:<8}", style="bold", markup=False),
        TextColumn("{task.fields[subject]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:

        @contextmanager
        def without_bars() -> Iterator[None]:
            bars.stop()
            try:
                yield
            finally:
                bars.start()

        with making_room(without_bars):
            yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._task(event.stage, event.subject)
            case Progress():
                task = self._task(event.stage, event.subject)
                text = event.text
                if event.unit == "bytes":
                    text = ", ".join(filter(None, (f"{event.done / 1e6:.1f} of {event.total / 1e6:.1f} MB", event.text)))
                elif event.total:
                    text = f"{event.text} {event.done + 1} of {event.total}"
                self._bars.update(task, completed=event.done, total=event.total or None, text=text)
            case Finished():
                self._end(event)
            case Note():
                self._print((f"{event.level}: ", "yellow"), event.text)

    def _task(self, stage: str, subject: str) -> TaskID:
        key = (stage, subject)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task("", total=None, stage=stage, subject=subject, text="")
        return self._tasks[key]

    def _end(self, event: Finished) -> None:
        task = self._tasks.pop((event.stage, event.subject), None)
        if task is not None:
            self._bars.remove_task(task)
        mark = ("=", "dim") if event.cached else ("✓", "green")
        how = "cached, " if event.cached else ""
        self._print(mark, " ", (f"{event.stage:<8}", "bold"), f" {event.subject}  ", (f"{how}{event.text}", "dim"))

    def _print(self, *parts: str | tuple[str, str]) -> None:
        from rich.text import Text

        # Text, not str: `edgedeploy[native]` is not markup.
        self._bars.console.print(Text.assemble(*parts), highlight=False)
