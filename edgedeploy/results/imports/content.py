"""A file of results as lines that can be pointed at."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from math import isfinite

from edgedeploy.errors import UsageError

_SHOWN = 80
_DAMAGED = "the run that wrote this did not end well, or the file is damaged: import another one"


class Content:
    """What a file holds. Bytes that are no UTF-8 are kept as replacement characters: logs of devices have such."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data

    @cached_property
    def text(self) -> str:
        """All of it."""
        encoding = "utf-16" if self.data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"  # PowerShell's > writes UTF-16
        return self.data.decode(encoding, errors="replace")

    @cached_property
    def lines(self) -> list[str]:
        """The first one is line 1 for the eye."""
        return self.text.replace("\r\n", "\n").split("\n")

    @cached_property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def beginning(self) -> str:
        """The first line with something on it, shortened."""
        return next((short(line) for line in self.lines if line.strip()), "an empty file")

    def line_at(self, offset: int) -> int:
        """On which line the character at ``offset`` of :attr:`text` is."""
        return self.text.count("\n", 0, offset) + 1

    def complaint(self, line: int, what: str, seen: str, next_step: str) -> UsageError:
        """What is wrong there."""
        return UsageError(what, where=f"{self.name}:{line}", seen=short(seen), next_step=next_step)

    def count(self, line: int, name: str, text: str) -> int:
        """A whole number that is not negative.

        Raises:
            UsageError: it is none.
        """
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise self.complaint(line, f"{name} is no whole number", text, _DAMAGED)
        return int(text)

    def number(self, line: int, name: str, text: str) -> float:
        """A finite number that is not negative.

        Raises:
            UsageError: it is none.
        """
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not isfinite(value):
            raise self.complaint(line, f"{name} is no number", text, _DAMAGED)
        if value < 0:
            raise self.complaint(line, f"{name} is negative", text, _DAMAGED)
        return value


def short(text: str) -> str:
    """As much of it as one looks at."""
    stripped = text.strip()
    return stripped if len(stripped) <= _SHOWN else f"{stripped[:_SHOWN]}…"
