"""Types are learned by one thread at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgedeploy.decoding import convert, decode

# Types that nobody has seen yet, decoded by three threads at once: done by msgspec alone, this dies of a segmentation fault.
RACE = """
import sys, threading, types
sys.setswitchinterval(1e-6)
import msgspec
from edgedeploy.decoding import decode

SOURCE = "from __future__ import annotations\\nimport msgspec\\n"
for k in range(20):
    fields = "".join(f"    f{i}: int = 0\\n" for i in range(10))
    SOURCE += f"class N{k}(msgspec.Struct):\\n{fields}"
SOURCE += "class X(msgspec.Struct):\\n" + "".join(f"    n{k}: N{k} | None = None\\n    z{k}: int = 0\\n" for k in range(20))
DATA = msgspec.json.encode({f"z{k}": k for k in range(20)} | {f"n{k}": {"f1": 1} for k in range(20)})

for attempt in range(150):
    module = types.ModuleType(f"m{attempt}")
    sys.modules[module.__name__] = module
    exec(SOURCE, module.__dict__)
    barrier = threading.Barrier(3)

    def work():
        barrier.wait()
        assert decode(DATA, module.X).z3 == 3

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_a_type_that_several_threads_decode_first_is_learned_once() -> None:
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""


def test_what_does_not_fit_is_told_as_msgspec_tells_it() -> None:
    assert decode(b"[1, 2]", tuple[int, ...]) == (1, 2)
    assert convert({"a": 1}, dict[str, int]) == {"a": 1}
    with pytest.raises(msgspec.ValidationError):
        decode(b'["a"]', tuple[int, ...])
    with pytest.raises(msgspec.ValidationError):
        convert(["a"], tuple[int, ...])


def test_nothing_else_decodes_into_types() -> None:
    package = Path(__file__).parents[2] / "edgedeploy"
    others = [file for file in package.rglob("*.py") if file.name != "decoding.py"]
    calls = ("msgspec.json.decode(", "msgspec.convert(", "msgspec.json.Decoder(")
    found = [
        f"{file.name}: {line.strip()}"
        for file in others
        for line in file.read_text().splitlines()
        if any(c in line for c in calls)
    ]
    assert found == ["document.py: content = msgspec.json.decode(stdout)"]  # into plain data
