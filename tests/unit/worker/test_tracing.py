"""What a source depends on, found by watching it load. Each trace in a process of its own: an audit hook stays for good."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgedeploy.worker.job import Dependencies

TRACED = """\
import os
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, os.getcwd())
from edgedeploy.worker.tracing import Trace

Path("before.txt").read_text()
trace = Trace()
trace.start()
import source
found = trace.stop(tuple(map(Path, sys.argv[1:])))
Path("after.txt").read_text()
print("DEPENDENCIES", msgspec.json.encode(found).decode())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project without a source yet."""
    for name in ("before.txt", "after.txt", "weights.bin"):
        (tmp_path / name).write_text(name)
    return tmp_path


def trace(folder: Path, source: str, *extra: str) -> Dependencies:
    """What loading ``source`` reads."""
    (folder / "source.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", TRACED, *extra], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("DEPENDENCIES"))
    return msgspec.json.decode(line.removeprefix("DEPENDENCIES"), type=Dependencies)


def names(folder: Path, found: Dependencies) -> set[str]:
    return {str(Path(file).relative_to(folder.resolve())) for file in found.files}


def test_the_source_itself_and_the_modules_beside_it(folder: Path) -> None:
    (folder / "layers").mkdir()
    (folder / "layers/__init__.py").write_text("from layers import conv\n")
    (folder / "layers/conv.py").write_text("")
    (folder / "unused.py").write_text("")
    found = trace(folder, "import layers\n")
    assert names(folder, found) == {"source.py", "layers/__init__.py", "layers/conv.py"}
    assert found.files[str((folder / "source.py").resolve())] == hashlib.sha256(b"import layers\n").hexdigest()


def test_a_second_load_from_compiled_files_sees_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (folder / "layers.py").write_text("")
    first = trace(folder, "import layers\n")
    assert list((folder / "__pycache__").iterdir())
    assert trace(folder, "import layers\n") == first


def test_a_file_that_python_reads_in_whatever_way(folder: Path) -> None:
    ways = {
        "text": "open('text').read()",
        "bytes": "open(b'bytes', 'rb').read()",
        "path": "from pathlib import Path; Path('path').read_bytes()",
        "raw": "import io; io.FileIO('raw').read()",
        "numpy": "import numpy; numpy.fromfile('numpy', dtype='uint8')",
        "caught": "try: int(open('caught').read())\nexcept ValueError: pass",
    }
    for name in ways:
        (folder / name).write_text("content")
    assert names(folder, trace(folder, "\n".join(ways.values()))) == {"source.py", *ways}


def test_a_file_that_is_written_is_no_dependency(folder: Path) -> None:
    (folder / "r+.txt").write_text("")
    source = "for mode in ('w', 'a', 'x', 'r+', 'w+b'): open(f'{mode}.txt', mode).close()\n"
    assert names(folder, trace(folder, source)) == {"source.py"}


def test_a_file_that_is_gone_again_or_never_was_is_no_dependency(folder: Path) -> None:
    source = """\
import os
open("gone.txt", "w").close()
open("gone.txt").close()
os.remove("gone.txt")
try:
    open("never.txt")
except FileNotFoundError:
    pass
"""
    assert names(folder, trace(folder, source)) == {"source.py"}


def test_further_files_count_in_any_case_and_a_link_by_what_it_leads_to(folder: Path) -> None:
    (folder / "link.bin").symlink_to("before.txt")
    assert names(folder, trace(folder, "", "weights.bin", "link.bin")) == {"source.py", "weights.bin", "before.txt"}


def test_packages_are_known_by_their_version_and_the_kernels_files_not_at_all(folder: Path) -> None:
    found = trace(folder, "import click, json, decimal\nopen('/proc/self/status').read()\nopen('/dev/null').read()\n")
    assert names(folder, found) == {"source.py"}
    assert found.distributions["click"] == importlib.metadata.version("click")
    assert found.distributions["msgspec"] == importlib.metadata.version("msgspec")
    assert "numpy" not in found.distributions


def test_a_package_of_which_only_a_file_is_read_counts(folder: Path) -> None:
    found = trace(folder, "import importlib.metadata as m\nm.distribution('rich').locate_file('rich/py.typed').read_bytes()\n")
    assert names(folder, found) == {"source.py"}
    assert found.distributions["rich"] == importlib.metadata.version("rich")
    assert "numpy" not in found.distributions


def test_safetensors_reads_by_native_code_and_is_seen_nevertheless(folder: Path) -> None:
    pytest.importorskip("safetensors")
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"w": np.zeros(2, dtype=np.float32)}, folder / "model.safetensors")
    source = """\
import safetensors
with safetensors.safe_open("model.safetensors", framework="np") as file:
    file.get_tensor("w")
"""
    assert names(folder, trace(folder, source)) == {"source.py", "model.safetensors"}
