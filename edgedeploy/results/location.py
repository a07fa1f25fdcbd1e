"""Where a project's measurements are kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edgedeploy.places import state_folder

URL_VARIABLE = "EDGEDEPLOY_RESULTS_URL"


def default_url(project_root: Path, project_name: str, *, configured: str = "") -> str:
    """The database URL of a project's history.

    The environment variable ``EDGEDEPLOY_RESULTS_URL`` comes first, then ``configured`` (the project file's
    ``[results] url``), then an SQLite file in the user's state folder. Two checkouts of one project have two files:
    their measurements are not of the same code. A relative SQLite path is relative to ``project_root``.
    """
    given = os.environ.get(URL_VARIABLE, "") or configured
    if given:
        return _anchored(given, project_root)
    root = project_root.expanduser().absolute()
    place = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    return f"sqlite:///{_quoted(state_folder() / f'{project_name}-{place}' / 'history.sqlite')}"


def _anchored(url: str, root: Path) -> str:
    scheme, separator, path = url.partition(":///")
    is_file = bool(separator) and scheme.partition("+")[0] == "sqlite"
    if not is_file or not path or path.startswith(("/", ":memory:", "file:")):
        return url
    return f"{scheme}:///{_quoted(root.expanduser().absolute())}/{path}"


def _quoted(path: Path) -> str:
    """The path as SQLAlchemy writes it in a URL: a folder may be called ``100%`` or ``what?``."""
    from sqlalchemy.engine import URL  # slow to import

    return URL.create("sqlite", database=str(path)).render_as_string().removeprefix("sqlite:///")
