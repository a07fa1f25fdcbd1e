"""A push to a real device. Not part of ``make test``: run ``make test-hardware TARGET=pixel8`` with the device connected.

Uses the developer's own adb, ssh configuration and ``~/.config/edgedeploy/lab.toml``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.hardware

TARGET = os.environ.get("TARGET", "")
PROJECT = f"""\
name = "edgedeploy-hardware-test"
[models.net]
source = "model.py:net"
[[deploy]]
model = "net"
targets = ["{TARGET}"]
recipes = ["fp32", "int8"]
"""
MODEL = """\
import torch
from edgedeploy import ModelSource
def net():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 900, 10))
    return ModelSource(module=module, example_inputs=(torch.randn(1, 3, 32, 32),))
"""


def push(folder: Path) -> dict:
    command = [str(Path(sys.executable).parent / "edgedeploy"), "push", "--target", TARGET, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_reachable_unit_passes_and_keeps_what_it_was_sent(tmp_path: Path) -> None:
    assert TARGET, "TARGET is not set"
    (tmp_path / "edgedeploy.toml").write_text(PROJECT)
    (tmp_path / "model.py").write_text(MODEL)
    runs = push(tmp_path)["runs"]
    assert runs
    for run in runs:
        assert run["verdict"]["status"] == "pass"
        assert run["device_sha256"] == run["artifact"]["sha256"]
        assert run["verify"]["device"]["finite"]
    assert [run["push"]["bytes_sent"] for run in push(tmp_path)["runs"]] == [0] * len(runs)
