"""A small project that is exported once per session, and the command line as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from integration.pipeline.command import EDGEDEPLOY, Finished, Run

MODEL = """\
import torch
from torch import nn

from edgedeploy import ModelSource


def net():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    inputs = [(torch.randn(1, 3, 16, 16),) for _ in range(4)]
    return ModelSource(module=module, example_inputs=inputs[0], golden_inputs=inputs[:2], calibration=inputs)
"""

PROJECT = """\
name = "small"

[models.net]
source = "model.py:net"

[[deploy]]
model = "net"
targets = ["this-machine"]
recipes = ["fp32"]
exporters = ["executorch", "tflite"]
measure = { warmup_seconds = 0 }

[[deploy]]
model = "net"
targets = ["pixel8", "linux-x86_64", "raspberry-pi-5"]
recipes = ["fp32"]
exporters = ["executorch"]
# Emulated stand-ins are slow, and have no nine cores.
measure = { processes = 2, warmup_iterations = 1, warmup_seconds = 0, iterations = 3, threads = 1, cpus = [], cooldown_s = 0, \
start_wait_s = 0 }
"""


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session and all its workers, so that each runner is built once."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-cache"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture
def run(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``edgedeploy`` as a process of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))

    def call(*arguments: str, cwd: Path, timeout_s: float = 400, **env: str) -> Finished:
        done = subprocess.run(
            [EDGEDEPLOY, *arguments],
            cwd=cwd,
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "small"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    (folder / "edgedeploy.toml").write_text(PROJECT)
    return folder


@pytest.fixture
def project(_project: Path) -> Path:
    """The project's folder; always the same one, so that the cache knows it. The lab file is removed again."""
    (_project / "lab.toml").unlink(missing_ok=True)
    (_project / "edgedeploy.toml").write_text(PROJECT)
    (_project / "model.py").write_text(MODEL)
    return _project


@pytest.fixture
def scratch_project(project: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(project, tmp_path / "scratch"))
