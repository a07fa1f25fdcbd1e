"""How each runner is started on this machine, and tiny models for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from standins.build_cache import cache_dir

from edgedeploy.domain.release import RunnerBundle
from edgedeploy.errors import MissingToolError, RunnerError
from edgedeploy.runners.agent import agent_runner
from edgedeploy.runners.document import RunnerDocument, parse_document
from edgedeploy.runners.native import native_runner

CASES = 3
LIMIT_S = 120
# Importing torch takes seconds of CPU: agent-pte is started only where it could differ from agent-tflite.
QUICK = ("native-pte", "native-tflite", "agent-tflite")
RUNNERS = (*QUICK, "agent-pte")


def format_of(runner: str) -> str:
    return runner.partition("-")[2]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("executorch", reason="needs edgedeploy[executorch]")
    pytest.importorskip("litert_torch", reason="needs edgedeploy[tflite]")
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("tiny_models.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder


@pytest.fixture(scope="session")
def runner_cache() -> Path:
    """Lasts longer than the session: a build is found by its content."""
    return cache_dir() / "runners"


def build(engine: str, abi: str, runner_cache: Path) -> RunnerBundle:
    try:
        return native_runner(engine, abi, cache_dir=runner_cache, emit=print)  # type: ignore[arg-type]
    except MissingToolError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def place(bundle: RunnerBundle, folder: Path) -> Path:
    """Lay a bundle out as on a device: links with the files' names into a store that knows digests only."""
    blobs = folder / "blobs"
    release = folder / "release"
    blobs.mkdir(parents=True)
    release.mkdir()
    for file in bundle.files:
        blob = blobs / file.entry.sha256
        if not blob.exists():
            shutil.copyfile(file.local, blob)
            blob.chmod(0o755 if file.entry.executable else 0o444)
        (release / file.entry.path).symlink_to(blob)
    return release


def start_of(bundle: RunnerBundle, folder: Path) -> list[str]:
    return [word.replace("{dir}", str(folder)).replace("{python}", sys.executable) for word in bundle.start]


@pytest.fixture(scope="session")
def starts(tmp_path_factory: pytest.TempPathFactory, runner_cache: Path) -> dict[str, list[str]]:
    """How each runner is started on this machine."""
    bundles = {
        "native-pte": build("executorch", "host", runner_cache),
        "native-tflite": build("litert", "host", runner_cache),
        "agent-pte": agent_runner(),
        "agent-tflite": agent_runner(),
    }
    return {name: start_of(bundle, place(bundle, tmp_path_factory.mktemp(name))) for name, bundle in bundles.items()}


class Ran(msgspec.Struct):
    stdout: bytes
    stderr: bytes
    exit_code: int
    output_dir: Path

    @property
    def document(self) -> RunnerDocument:
        return parse_document(self.stdout, exit_code=self.exit_code, stderr=self.stderr, where="here", kind=RunnerDocument)

    @property
    def failure(self) -> dict[str, str]:
        assert self.exit_code != 0
        failure = json.loads(self.stdout)
        assert failure["schema"] == "edgedeploy.runner/1"
        assert set(failure) == {"schema", "error"}
        with pytest.raises(RunnerError):
            _ = self.document
        return failure["error"]

    def output(self, index: int) -> np.ndarray:
        described = self.document.outputs[index]
        flat = np.fromfile(self.output_dir / described.file, dtype=described.dtype)
        return flat.reshape(self.document.cases, *described.shape)


def run(start: Sequence[str], arguments: Sequence[str], output_dir: Path) -> Ran:
    output_dir.mkdir(parents=True, exist_ok=True)
    argv = [*start, *arguments, "--output-dir", str(output_dir)]
    done = subprocess.run(argv, capture_output=True, timeout=LIMIT_S, check=False)
    return Ran(done.stdout, done.stderr, done.returncode, output_dir)


def input_arguments(models: Path, name: str, suffix: str, folder: Path) -> list[str]:
    """All cases of a model's inputs; LiteRT's converter turned int64 into int32."""
    arguments = []
    count = len(list(models.glob(f"{name}.input*.npy")))
    for index in range(count):
        values = np.load(models / f"{name}.input{index}.npy")
        if suffix == "tflite" and values.dtype == np.int64:
            values = values.astype(np.int32)
        file = folder / f"{name}-{suffix}-{index}.bin"
        values.tofile(file)
        shape = ",".join(map(str, values.shape[1:]))
        arguments += ["--input", f"{values.dtype.name}:{shape}:{file}"]
    return arguments


@pytest.fixture
def run_model(starts: dict[str, list[str]], models: Path, tmp_path: Path) -> Callable[..., Ran]:
    def start(runner: str, name: str, *options: str, output: str = "out") -> Ran:
        suffix = format_of(runner)
        arguments = ["--model", str(models / f"{name}.{suffix}"), *input_arguments(models, name, suffix, tmp_path)]
        return run(starts[runner], [*arguments, *options], tmp_path / output)

    return start
