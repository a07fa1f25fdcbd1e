"""What a stage tells while it works. A sink takes each event; rendering is the command line's business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

StageName = Literal["export", "verify", "push", "measure", "setup", "profile", "compare"]


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A stage begins on ``subject`` (a model's lane, a device)."""

    stage: StageName
    subject: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """``done`` of ``total`` ``unit`` (``total`` 0: unknown). ``text`` says what is being done."""

    stage: StageName
    subject: str
    done: int
    total: int
    unit: Literal["bytes", "steps"] = "steps"
    text: str = ""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A stage is over. ``cached``: its result was there already and nothing was done."""

    stage: StageName
    subject: str
    cached: bool
    text: str = ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something the user should know and that is no failure."""

    text: str
    level: Literal["info", "warning"] = "info"


Event = Started | Progress | Finished | Note
Sink = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A sink for those who do not want to know."""
