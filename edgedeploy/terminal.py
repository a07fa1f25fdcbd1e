"""The terminal, which only one at a time may use: bars make room while a question is asked."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

Room = Callable[[], AbstractContextManager[None]]
_rooms: list[Room] = []


@contextmanager
def making_room(room: Room) -> Iterator[None]:
    """For as long as this lasts, ``room`` is entered around every question."""
    _rooms.append(room)
    try:
        yield
    finally:
        _rooms.remove(room)


def ask_secret(question: str) -> str | None:
    """What the user types, unseen; None where nobody can be asked.

    That is: without a terminal, and beside the main thread, where Ctrl-C would not end the question.
    """
    if threading.current_thread() is not threading.main_thread() or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    with ExitStack() as stack:
        for room in _rooms:
            stack.enter_context(room())
        try:
            return getpass.getpass(question)
        except EOFError:
            return None
