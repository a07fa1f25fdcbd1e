"""How an argument list becomes one line of POSIX sh. Nothing else in the project writes shell command lines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from edgedeploy.errors import UsageError


def quote_command(argv: Sequence[str]) -> str:
    """Return a command line that makes dash, bash, mksh or busybox run exactly ``argv``.

    Every byte arrives as it was given: blanks, quotes, newlines, empty strings, leading dashes, non-ASCII text. The
    first word is always quoted, so that ``if``, ``time``, ``a=b`` or an alias is looked up as a program and not read as
    syntax.

    Raises:
        UsageError: ``argv`` is empty, or holds a NUL or text that no bytes stand for; no program can be given that.
    """
    if not argv:
        raise UsageError("an empty command cannot be run")
    for word in argv:
        _refuse_what_no_program_can_get(word)
    first, *rest = argv
    return " ".join([_single_quoted(first), *(shlex.quote(word) for word in rest)])


def _single_quoted(word: str) -> str:
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _refuse_what_no_program_can_get(word: str) -> None:
    if "\0" in word:
        raise UsageError("an argument of a command holds a NUL character", seen=repr(word))
    try:
        word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise UsageError("an argument of a command cannot be encoded", seen=repr(word)) from exc
