"""``Match`` lines of an SSH configuration, made into such as paramiko reads: it takes criteria that it does not know for met."""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from edgedeploy.errors import ConfigError
from edgedeploy.transports.timed_process import ProcessTimeoutError, run_process

NEVER = "Host !*"
_EXEC_S = 10.0
_WITHOUT_ARGUMENT = frozenset({"all", "canonical", "final"})
_KNOWN = frozenset({*_WITHOUT_ARGUMENT, "host", "originalhost", "user", "localuser"})


def plain_match(value: str, where: str, applies: Callable[[str], bool], tokens: Callable[[], Mapping[str, str]]) -> str:
    """The block's first line, with ``exec`` decided by running the command, as ssh does: only if what stands before it is met.

    Args:
        value: the criteria.
        where: the file, for errors.
        applies: whether a line that begins a block is met.
        tokens: what ``%h`` and its like stand for in a command.

    Raises:
        ConfigError: a criterion that is not supported, where it would decide.
    """
    try:
        words = shlex.split(value)
    except ValueError as exc:
        raise ConfigError("the SSH configuration cannot be read", where=where, seen=str(exc)) from exc
    kept: list[str] = []
    while words:
        criterion = words.pop(0)
        name = criterion.removeprefix("!").lower()
        argument = [] if name in _WITHOUT_ARGUMENT else words[:1]
        del words[: len(argument)]
        if name in _KNOWN:
            kept += [criterion, *map(shlex.quote, argument)]
            continue
        if not applies(_line(kept)):
            return NEVER
        if name != "exec" or not argument:
            raise ConfigError(
                f"Match {criterion} is not supported",
                where=where,
                next_step="put what it says into a Host block, or into lab.toml with the address itself as host",
            )
        if _succeeds(argument[0], tokens()) == criterion.startswith("!"):
            return NEVER
    return _line(kept)


def _line(criteria: list[str]) -> str:
    return f"Match {' '.join(criteria)}" if criteria else "Host *"


def _succeeds(command: str, tokens: Mapping[str, str]) -> bool:
    line = re.sub("%(.)", lambda found: tokens.get(found[1], found[0]), command)
    try:
        return run_process([os.environ.get("SHELL") or "/bin/sh", "-c", line], timeout_s=_EXEC_S).exit_code == 0
    except ProcessTimeoutError:
        return False


def tokens_of(address: str, options: Mapping[str, object]) -> dict[str, str]:
    """What the tokens of ssh_config(5) stand for, as far as is known."""
    me = getpass.getuser()
    return {
        "%": "%",
        "h": str(options.get("hostname", address)),
        "n": address,
        "p": str(options.get("port", 22)),
        "r": str(options.get("user", me)),
        "u": me,
        "d": str(Path.home()),
    }
