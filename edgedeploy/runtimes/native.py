"""Runtimes that are programs of our own in C++ and C: no Python on the device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from edgedeploy.domain.artifact import Artifact, Format
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, Os
from edgedeploy.ports import Emit
from edgedeploy.runners.native import native_runner
from edgedeploy.runtimes.delegates import missing_delegates

_ABIS: frozenset[Abi] = frozenset({"linux-x86_64", "linux-aarch64", "android-arm64"})


class _Native:
    name: str
    formats: frozenset[Format]
    uses_python = False
    engine: ClassVar[Literal["executorch", "litert"]]

    def runs_on(self, abi: Abi, os: Os) -> bool:
        """On Linux and Android."""
        return abi in _ABIS and os in {"linux", "android", "host"}

    def bundle(self, abi: Abi, *, cache_dir: Path, emit: Emit) -> RunnerBundle:
        """Built once by CMake, then cached; see :func:`edgedeploy.runners.native.native_runner`."""
        return native_runner(self.engine, abi, cache_dir=cache_dir, emit=emit)

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:  # noqa: ARG002 - all is there
        """Nothing is required: the bundle brings everything."""
        return ""


class ExecutorchNative(_Native):
    """Runs .pte by the C++ library of ExecuTorch."""

    name = "executorch-native"
    formats: frozenset[Format] = frozenset({"pte"})
    engine = "executorch"

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:  # noqa: ARG002 - needs no Python
        """XNNPACK is the one delegate it has; on Android the user's own engine may have more."""
        return "" if abi == "android-arm64" else missing_delegates(artifact, {"XnnpackBackend"})


class LitertNative(_Native):
    """Runs .tflite by libLiteRt."""

    name = "litert-native"
    formats: frozenset[Format] = frozenset({"tflite"})
    engine = "litert"
