"""Passphrases and passwords that somebody typed: kept in this process's memory until it ends, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

from edgedeploy.terminal import ask_secret

_PROMPTS = 3  # as in ssh
_remembered: dict[str, str] = {}


def answers(subject: str, question: str) -> Iterator[str]:
    """What was right before, then what is typed, three times at most; nothing where nobody can be asked."""
    if subject in _remembered:
        yield _remembered[subject]
        return
    for _ in range(_PROMPTS):
        typed = ask_secret(question)
        if not typed:
            return
        yield typed


def remember(subject: str, secret: str) -> None:
    """It was right: the next connection needs not ask."""
    _remembered[subject] = secret
