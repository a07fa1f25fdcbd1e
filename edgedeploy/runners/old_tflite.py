"""An old TFLite runtime on this machine, so that a file for an old board is run by what the board has before it is pushed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgedeploy.domain.release import RunnerBundle
from edgedeploy.errors import MissingToolError
from edgedeploy.runners.agent import agent_runner
from edgedeploy.runners.sdk import take_place

Emit = Callable[[str], None]

_DISTRIBUTION = "tflite-runtime"
# tflite-runtime was built against numpy 1: beside numpy 2 its Interpreter raises SystemError.
_NUMPY = "numpy==1.26.4"
_LIMIT_S = 600.0


def old_tflite_runner(version: str, *, cache_dir: Path, emit: Emit) -> RunnerBundle:
    """Return our agent with ``tflite-runtime`` of this version, in a virtual environment that is made once (60 MB).

    Raises:
        MissingToolError: pip cannot install that version for this Python (2.14.0 is the last, and stops at Python 3.11).
    """
    folder = cache_dir / "tflite-runtime" / f"{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not folder.is_dir():
        emit(f"installing {_DISTRIBUTION} {version} (once)")
        _install(folder, version)
    agent = agent_runner()
    start = tuple(word.replace("{python}", str(folder / "bin" / "python")) for word in agent.start)
    return msgspec.structs.replace(agent, name=f"{agent.name}-{_DISTRIBUTION}-{version}", start=start)


def _install(folder: Path, version: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".installing-", dir=folder.parent))
    requirements = [f"{_DISTRIBUTION}=={version}", _NUMPY]
    try:
        _run([sys.executable, "-m", "venv", "--without-pip", str(scratch)], version)
        options = ["--disable-pip-version-check", "--only-binary=:all:", "--quiet"]
        _run([sys.executable, "-m", "pip", "--python", str(scratch), "install", *options, *requirements], version)
        take_place(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(argv: list[str], version: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=_LIMIT_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(f"installing {_DISTRIBUTION} {version} took more than {_LIMIT_S:g} s") from error
    if done.returncode != 0:
        raise MissingToolError(
            f"{_DISTRIBUTION} {version} cannot be installed on this machine",
            seen=" | ".join(done.stderr.decode(errors="replace").strip().splitlines()[-3:])[-400:],
            next_step="run edgedeploy with Python 3.11, where pip finds it, or where there is a network",
        )
