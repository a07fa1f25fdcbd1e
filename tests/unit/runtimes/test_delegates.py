"""Which artifacts a runtime does not run, because it has not what their operators were handed to."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import artifact, planned

from edgedeploy.domain.artifact import Artifact, Operator
from edgedeploy.domain.target import Abi
from edgedeploy.ports import Runtime
from edgedeploy.runtimes.native import ExecutorchNative
from edgedeploy.runtimes.python import ExecutorchPython

PYTHON = {"python": "3.11.2", "executorch": "1.5.1", "numpy": "2.3.5"}


def delegating(folder: Path, *delegates: str | None) -> Artifact:
    operators = tuple(Operator(operator="aten.add", delegate=delegate) for delegate in delegates)
    return msgspec.structs.replace(artifact(folder, planned()), operators=operators)


@pytest.mark.parametrize("runtime", [ExecutorchNative(), ExecutorchPython()])
def test_xnnpack_and_plain_kernels_run_everywhere(runtime: Runtime, tmp_path: Path) -> None:
    for abi in ("linux-x86_64", "linux-aarch64"):
        assert runtime.requirement(abi, PYTHON, delegating(tmp_path, "XnnpackBackend", None)) == ""


@pytest.mark.parametrize("runtime", [ExecutorchNative(), ExecutorchPython()])
def test_an_npu_is_in_no_runtime_of_a_linux_board(runtime: Runtime, tmp_path: Path) -> None:
    made = delegating(tmp_path, "EthosUBackend", None)
    assert runtime.requirement("linux-aarch64", PYTHON, made) == "has no EthosUBackend"


def test_openvino_runs_where_python_has_it(tmp_path: Path) -> None:
    made = delegating(tmp_path, "OpenvinoBackend")
    runtime = ExecutorchPython()
    assert runtime.requirement("linux-x86_64", PYTHON, made) == "has no OpenvinoBackend"
    assert runtime.requirement("linux-x86_64", PYTHON | {"openvino": "2025.4.1"}, made) == ""
    assert ExecutorchNative().requirement("linux-x86_64", {}, made) == "has no OpenvinoBackend"


@pytest.mark.parametrize(("abi", "reason"), [("macos-arm64", ""), ("linux-x86_64", "has no CoreMLBackend")])
def test_core_ml_runs_on_macs(abi: Abi, reason: str, tmp_path: Path) -> None:
    assert ExecutorchPython().requirement(abi, PYTHON, delegating(tmp_path, "CoreMLBackend")) == reason


def test_on_android_the_users_own_engine_may_have_more(tmp_path: Path) -> None:
    assert ExecutorchNative().requirement("android-arm64", {}, delegating(tmp_path, "VulkanBackend")) == ""


def test_without_an_engine_that_is_the_reason(tmp_path: Path) -> None:
    made = delegating(tmp_path, "OpenvinoBackend")
    assert "none of: executorch" in ExecutorchPython().requirement("linux-x86_64", {"python": "3.11"}, made)
