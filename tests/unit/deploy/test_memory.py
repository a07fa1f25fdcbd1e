"""A file of any size is cut and hashed in a few megabytes of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process")

PEAK = """
import re, sys
from pathlib import Path
import blake3, numpy
from edgedeploy.cache import Cache
from edgedeploy.deploy.chunks import chunks_of

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

file, before = Path(sys.argv[2]), peak_kb()
{"cut": chunks_of, "hashed": Cache(file.with_name("cache")).sha256}[sys.argv[1]](file)
print(peak_kb() - before)
"""


@pytest.mark.parametrize("way", ["cut", "hashed"])
def test_memory_is_bounded(way: str, tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as sink:
        sink.truncate(128 << 20)
    done = subprocess.run([sys.executable, "-c", PEAK, way, str(file)], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 24 << 10
