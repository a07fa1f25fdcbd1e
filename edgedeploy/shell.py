"""How an argument list becomes one line of POSIX sh. Nothing else in the project writes shell command lines."""

from __future__ import annotations

from collections.abc import Sequence

from edgedeploy.errors import UsageError


def quote_command(argv: Sequence[str]) -> str:
    """Return a command line that makes dash, bash, mksh, busybox or zsh run exactly ``argv``.

    Every byte arrives as it was given: blanks, quotes, newlines, empty strings, leading dashes, non-ASCII text. Every
    word is quoted, whatever is in it: ``if``, ``time``, ``a=b`` or an alias is looked up as a program and not read as
    syntax, and zsh, a Mac's login shell, does not make a path of ``=ls``.

    Raises:
        UsageError: ``argv`` is empty, or holds a NUL or text that no bytes stand for; no program can be given that.
    """
    if not argv:
        raise UsageError("an empty command cannot be run")
    for word in argv:
        _refuse_what_no_program_can_get(word)
    return " ".join(map(_single_quoted, argv))


def _single_quoted(word: str) -> str:
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _refuse_what_no_program_can_get(word: str) -> None:
    if "\0" in word:
        raise UsageError("an argument of a command holds a NUL character", seen=repr(word))
    try:
        word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise UsageError("an argument of a command cannot be encoded", seen=repr(word)) from exc
