"""Where this benchmark's own files are; imported first, it makes the tests' stand-ins and ``record`` importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent), str(HERE.parents[1] / "tests")]
