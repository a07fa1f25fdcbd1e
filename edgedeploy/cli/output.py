"""Tells a failure to write the output from every other one: a reader that went away, a disk that is full."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

READER_GONE_EXIT_CODE = 141
"""128 + SIGPIPE: what a shell reports for other programs whose reader goes away (``| head``)."""

_WRITERS = ("click", "rich", "edgedeploy.cli")


class OutputFailedError(Exception):
    """Nothing more can be written. No ``OSError``: click would take a broken pipe for exit code 1."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.reader_gone = error.errno == errno.EPIPE
        self.seen = error.strerror or str(error)


@contextmanager
def watched() -> Iterator[None]:
    """Raise OutputFailedError for what writing to stdout or stderr raised; other errors pass."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.filename is None and _raised_by_a_writer(error.__traceback__):
            raise OutputFailedError(error) from None
        if error.errno == errno.EPIPE:  # of some other pipe; click would end with 1 and say nothing
            raise RuntimeError(str(error)) from error
        raise
    except SystemExit as ended:
        # rich exits with 1 when its reader goes away.
        if isinstance(ended.__context__, BrokenPipeError):
            raise OutputFailedError(ended.__context__) from None
        raise


def write_any_text() -> None:
    """Let characters that the terminal or pipe cannot show become a ``?``. stderr writes them as escapes by itself."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def give_up_writing() -> None:
    """Point stdout and stderr at nothing: Python flushes them at its end, and would complain again."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _raised_by_a_writer(trace: TracebackType | None) -> bool:
    module = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return any(module == writer or module.startswith(f"{writer}.") for writer in _WRITERS)
