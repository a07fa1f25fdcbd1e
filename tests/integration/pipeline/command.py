"""The command line as a user runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EDGEDEPLOY = str(Path(sys.executable).parent / "edgedeploy")


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` printed: one document, nothing else."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document


Run = Callable[..., Finished]
