"""Where the adb program is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from edgedeploy.errors import MissingToolError

OVERRIDE = "EDGEDEPLOY_ADB"
_SDK_VARIABLES = ("ANDROID_HOME", "ANDROID_SDK_ROOT")


def find_adb() -> Path:
    """Return the adb program: ``$EDGEDEPLOY_ADB``, PATH, an Android SDK, or the one in the ``adbutils`` wheel.

    Raises:
        MissingToolError: none of them has one, or ``$EDGEDEPLOY_ADB`` names something that cannot be run.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        if not os.access(override, os.X_OK):
            raise MissingToolError(
                "the adb program that was asked for cannot be run",
                where=f"environment variable {OVERRIDE}",
                seen=override,
                next_step=f"correct it, or unset {OVERRIDE} to search in the usual places",
            )
        return Path(override)
    for candidate in _candidates():
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate
    raise MissingToolError(
        "adb is not installed",
        seen=f"not on PATH, not in ${_SDK_VARIABLES[0]} or ${_SDK_VARIABLES[1]}, no adbutils package",
        next_step=(
            "pip install 'edgedeploy[adb]'  (or: install Android's platform-tools from "
            "https://developer.android.com/tools/releases/platform-tools and put them on PATH, set ANDROID_HOME, "
            f"or set {OVERRIDE} to the program)"
        ),
    )


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("adb")
    if on_path:
        yield Path(on_path)
    for variable in _SDK_VARIABLES:
        if sdk := os.environ.get(variable):
            yield Path(sdk) / "platform-tools" / "adb"
    # Looked up, not imported: its import costs time, and only the program inside is wanted.
    package = find_spec("adbutils")
    for folder in (package.submodule_search_locations or ()) if package else ():
        yield Path(folder) / "binaries" / "adb"
