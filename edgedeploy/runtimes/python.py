"""Runtimes that are our Python agent with an engine the device has installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from edgedeploy.domain.artifact import Artifact, Format
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, Os
from edgedeploy.ports import Emit
from edgedeploy.runners.agent import agent_runner
from edgedeploy.runtimes.delegates import missing_delegates

_MORE_DELEGATES: dict[Abi, tuple[str, ...]] = {"macos-arm64": ("CoreMLBackend",)}


class _Agent:
    name: str
    formats: frozenset[Format]
    uses_python = True
    engines: ClassVar[tuple[str, ...]]
    systems: ClassVar[frozenset[Os]] = frozenset({"linux", "macos", "host"})

    def runs_on(self, abi: Abi, os: Os) -> bool:  # noqa: ARG002 - Python hides the ABI
        """Wherever there may be a Python."""
        return os in self.systems

    def bundle(self, abi: Abi, *, cache_dir: Path, emit: Emit) -> RunnerBundle:  # noqa: ARG002 - one file, nothing to build
        """The agent, one file."""
        return agent_runner()

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:  # noqa: ARG002 - Python hides it
        """One of the engines has to be installed there, and numpy; and it runs models call by call, not token by token."""
        if artifact.language is not None:
            return "the Python agent does not run language models"
        if not python_facts:
            return "there is no Python 3 on the device"
        if not any(engine in python_facts for engine in self.engines):
            return f"its Python has none of: {', '.join(self.engines)}"
        return "" if "numpy" in python_facts else "its Python has no numpy"


class ExecutorchPython(_Agent):
    """Runs .pte by ``executorch.runtime``."""

    name = "executorch-python"
    formats: frozenset[Format] = frozenset({"pte"})
    engines = ("executorch",)

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:
        """Also the delegates: its wheel has XNNPACK, on Linux OpenVINO where that is installed, on macOS Core ML."""
        if lacking := super().requirement(abi, python_facts, artifact):
            return lacking
        present = {"XnnpackBackend", *_MORE_DELEGATES.get(abi, ())}
        if "OpenvinoBackend" in artifact.delegates() and "openvino" in python_facts:
            present.add("OpenvinoBackend")
        return missing_delegates(artifact, present)


class LitertPython(_Agent):
    """Runs .tflite by whichever interpreter the device's Python has."""

    name = "litert-python"
    formats: frozenset[Format] = frozenset({"tflite"})
    engines = ("ai-edge-litert", "tflite-runtime", "tensorflow")


class CoremlPython(_Agent):
    """Runs .mlpackage by coremltools, on macOS. Written by the documentation; never run by us."""

    name = "coreml-python"
    formats: frozenset[Format] = frozenset({"mlpackage"})
    engines = ("coremltools",)
    systems = frozenset({"macos"})

    def runs_on(self, abi: Abi, os: Os) -> bool:
        """On macOS only."""
        return os == "macos" or (os == "host" and abi == "macos-arm64")
