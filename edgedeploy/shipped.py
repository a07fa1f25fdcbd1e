"""Where the folders lie that travel with edgedeploy without being Python: targets, templates, runner sources."""

from __future__ import annotations

from pathlib import Path

from edgedeploy.errors import InternalError

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Return the folder ``name`` of this installation: inside the wheel, or at the root of a checkout.

    Raises:
        InternalError: there is neither; the wheel was built wrong.
    """
    candidates = (_PACKAGE / "_shipped" / name, _PACKAGE.parent / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InternalError(
        f"this installation of edgedeploy lacks its folder '{name}'",
        where=str(candidates[0]),
        next_step="reinstall edgedeploy; if that does not help, report it as a bug",
    )
