"""What the exporters and compressors say of themselves, without any SDK."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgedeploy.compressors.magnitude import MagnitudePruner
from edgedeploy.domain.precision import PRECISIONS
from edgedeploy.domain.target import Lane
from edgedeploy.errors import CompressError, ExportError
from edgedeploy.exporters import executorch_delegates as delegates
from edgedeploy.exporters.coreml import CoremlExporter
from edgedeploy.exporters.executorch import ExecutorchExporter
from edgedeploy.exporters.tflite import TfliteExporter
from edgedeploy.ports import Compressor, Exporter, ExportRequest


def test_lanes_are_distinct_and_their_precisions_known() -> None:
    exporters: list[Exporter] = [ExecutorchExporter(), TfliteExporter(), CoremlExporter()]
    lanes = [lane for exporter in exporters for lane in exporter.lanes()]
    assert len({lane.id for lane in lanes}) == len(lanes)
    assert {lane.precision for lane in lanes} <= set(PRECISIONS)
    for exporter in exporters:
        assert {"fp32", "int8"} <= {lane.precision for lane in exporter.lanes()}
        assert "torch" in exporter.toolchain()


def test_every_backend_of_executorch_is_here_or_says_what_is_missing() -> None:
    answers = {lane.backend: ExecutorchExporter().lacking(lane) for lane in ExecutorchExporter().lanes()}
    assert [backend for backend, lacking in answers.items() if lacking is None][:4] == ["xnnpack", "portable", "coreml", "vulkan"]
    for lacking in answers.values():
        assert lacking is None or (lacking.what and lacking.how)


def test_a_vendors_compiler_that_edgedeploy_cannot_use_is_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNN_SDK_ROOT", "/opt/qnn")
    lane = Lane(exporter="executorch", backend="qnn", precision="fp16")
    lacking = ExecutorchExporter().lacking(lane)
    assert lacking is not None
    assert "does not have yet" in lacking.what
    with pytest.raises(ExportError, match="does not convert for Qualcomm") as caught:
        delegates.partitioner(ExportRequest(lane=lane, os="android", min_os="", folder="out"))
    assert "another lane" in caught.value.next_step


def test_every_backend_has_a_title_and_a_way_to_its_compiler_or_to_a_conversion() -> None:
    assert set(delegates.TITLES) == set(delegates.PRECISIONS) == set(delegates._SDKS) | set(delegates._PARTITIONERS)


def test_versions_of_a_vendors_compiler_are_part_of_the_key() -> None:
    compilers = {lane.backend: ExecutorchExporter().compilers(lane) for lane in ExecutorchExporter().lanes()}
    assert compilers["ethos-u"] == ("ethos-u-vela", "tosa-tools")
    assert compilers["openvino"] == ("openvino", "nncf")
    assert compilers["xnnpack"] == ()


def test_no_sdk_sends_anybody_anything() -> None:
    code = (
        "from edgedeploy.exporters.quiet import quiet_sdks; quiet_sdks()\n"
        "try: import openvino_telemetry\n"
        "except ImportError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "refused"


def test_importing_the_faces_imports_no_sdk() -> None:
    code = (
        "import sys, edgedeploy.exporters.executorch, edgedeploy.exporters.tflite, edgedeploy.exporters.coreml, "
        "edgedeploy.exporters.signature, edgedeploy.exporters.diagnosis, edgedeploy.compressors.magnitude; "
        "print(sorted({'torch', 'executorch', 'litert_torch', 'coremltools', 'torchao'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("value", [0.01, 0.5, 0.99])
def test_magnitude_takes_a_share(value: float) -> None:
    compressor: Compressor = MagnitudePruner()
    compressor.check({"sparsity": value})


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, -0.5, 2, "half", True, float("nan")])
def test_magnitude_refuses_what_is_no_share(value: float | str | bool) -> None:
    with pytest.raises(CompressError) as caught:
        MagnitudePruner().check({"sparsity": value})
    assert caught.value.where == "sparsity"


def test_magnitude_wants_its_setting_and_no_other() -> None:
    with pytest.raises(CompressError, match="between 0 and 1"):
        MagnitudePruner().check({})
    with pytest.raises(CompressError, match="'sparsty'"):
        MagnitudePruner().check({"sparsty": 0.5})
