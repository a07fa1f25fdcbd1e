"""What the guides name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SOURCE = re.compile(r"`((?:[\w-]+/)*[\w-]+\.(?:py|c|cc|h|swift))`")
# Files of the user's, or of other projects.
_THEIRS = {"model.py", "setup.py"}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_the_sources_that_a_guide_names_are_there(guide: Path) -> None:
    named = set(_SOURCE.findall(guide.read_text(encoding="utf-8"))) - _THEIRS
    assert [name for name in named if not (ROOT / name).is_file() and not list((ROOT / "edgedeploy").rglob(name))] == []
