"""Folders of this user, by the XDG base directory specification, on every system.

Three lines instead of a library: the start-up of every command pays for whatever is imported here.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgedeploy.errors import UsageError


def _place(variable: str, default: str) -> Path:
    given = os.environ.get(variable, "")
    # The specification says to ignore a relative path.
    base = Path(given) if os.path.isabs(given) else _home(variable) / default  # noqa: PTH117 - an empty string is a path too
    return base / "edgedeploy"


def _home(variable: str) -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither $HOME nor an entry in the password database, as in some containers
        raise UsageError("this user has no home folder", next_step=f"set HOME, or {variable} to an absolute path") from None


def config_folder() -> Path:
    """``$XDG_CONFIG_HOME/edgedeploy``: the user's own lab file and targets."""
    return _place("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/edgedeploy``: exports and runners; may be removed at any time."""
    return _place("XDG_CACHE_HOME", ".cache")


def state_folder() -> Path:
    """``$XDG_STATE_HOME/edgedeploy``: measurements."""
    return _place("XDG_STATE_HOME", ".local/state")
