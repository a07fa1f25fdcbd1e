"""SIGTERM and SIGHUP take the way of Ctrl-C, so that scratch folders and what runs on devices are cleaned up."""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType
from typing import Self


class Interrupts:
    """While it is entered, the first SIGTERM or SIGHUP raises KeyboardInterrupt; a second one ends the process at once.

    A signal that is ignored (``nohup``) or that somebody else handles is left alone.
    """

    def __init__(self) -> None:
        self._watched: list[signal.Signals] = []
        self._received = signal.SIGINT

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                with suppress(ValueError):  # not the main thread
                    signal.signal(number, self._interrupt)
                    self._watched.append(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._watched:
            signal.signal(number, signal.SIG_DFL)
        self._watched.clear()

    @property
    def exit_code(self) -> int:
        """As a shell has it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self._received

    @property
    def how(self) -> str:
        """``interrupted``, or which signal it was."""
        return "interrupted" if self._received == signal.SIGINT else f"interrupted by {self._received.name}"

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        self.__exit__()
        raise KeyboardInterrupt
