"""How a command that fails says so: text on stderr for people and, with ``--json``, one document on stdout for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import click

from edgedeploy import __version__
from edgedeploy.errors import EdgedeployError, InternalError, UsageError

ERROR_SCHEMA = "edgedeploy.error/1"


class Failure(NamedTuple):
    """What is known of a failure. The fields after ``text`` are those of the document; ``text`` is what people are shown."""

    text: str
    kind: str
    exit_code: int
    what: str
    where: str = ""
    seen: str = ""
    next_step: str = ""
    retryable: bool = False

    def tell(self) -> int:
        """Write it wherever it can be written; the exit code."""
        if wants_json(sys.argv[1:]):
            import msgspec

            fields = self._asdict()
            del fields["text"]
            with suppress(OSError):
                click.echo(msgspec.json.encode({"schema": ERROR_SCHEMA} | fields))
        with suppress(OSError):  # a terminal that was closed
            click.echo(self.text, err=True)
        return self.exit_code


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--json`` was given; also on a command line that click could not understand."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def of_error(error: EdgedeployError) -> Failure:
    """A failure that was foreseen."""
    return Failure(
        text=f"{click.style('error', fg='red', bold=True)}: {error}",
        kind=type(error).__name__,
        exit_code=error.exit_code,
        what=error.what,
        where=error.where,
        seen=error.seen,
        next_step=error.next_step,
        retryable=error.retryable,
    )


def of_usage(error: click.ClickException) -> Failure:
    """A command line that click refuses, in click's own words."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "edgedeploy"
    message = error.format_message()
    usage = f"{context.get_usage()}\nTry '{command} --help' for help.\n\n" if context else ""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return Failure(message, UsageError.__name__, UsageError.exit_code, "no command", command, "", f"{command} --help")
    return Failure(
        text=f"{usage}Error: {message}",
        kind=UsageError.__name__,
        exit_code=UsageError.exit_code,
        what=message,
        where=command,
        next_step=f"{command} --help",
    )


def of_interrupt(exit_code: int, how: str) -> Failure:
    """Ctrl-C, or a signal that asks to end."""
    what = f"{how}; nothing half-done was left behind"
    return Failure(text=f"\n{what}", kind="Interrupted", exit_code=exit_code, what=what)


def of_bug(error: Exception) -> Failure:
    """What nobody thought of. A report with the traceback is written; ``EDGEDEPLOY_DEBUG`` shows it, too."""
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    if os.environ.get("EDGEDEPLOY_DEBUG"):
        with suppress(OSError):
            click.echo(trace, err=True)
    next_step = "please report it with what EDGEDEPLOY_DEBUG=1 shows"
    with (
        suppress(OSError),  # a full disk must not hide the bug
        tempfile.NamedTemporaryFile("w", prefix="edgedeploy-bug-", suffix=".txt", delete=False, errors="replace") as file,
    ):
        file.write(f"edgedeploy {__version__}\n{sys.argv}\n{trace}")
        file.flush()
        next_step = f"please report it with {file.name}"
    what = f"a bug of edgedeploy: {type(error).__name__}: {error}"
    return Failure(
        text=f"error: {what}\n  next: {next_step}",
        kind=InternalError.__name__,
        exit_code=InternalError.exit_code,
        what=what,
        next_step=next_step,
    )
