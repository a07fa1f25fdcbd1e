"""Lanes of vendors whose compilers install from PyPI. Each is skipped where its compiler is not here.

    pip install -e '.[ethos-u,openvino,test]' && pytest tests/integration/test_vendor_lanes.py

in an environment of its own: both bring an older numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgedeploy.agreement import compare
from edgedeploy.domain.artifact import Operator
from edgedeploy.domain.delegation import delegation_of
from edgedeploy.domain.target import EthosU, Lane
from edgedeploy.errors import ExportError
from edgedeploy.exporters import executorch_delegates as delegates
from edgedeploy.exporters.executorch import ExecutorchExporter
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Exported, ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]


def needs(backend: str) -> pytest.MarkDecorator:
    lacking = delegates.lacking(backend)
    return pytest.mark.skipif(lacking is not None, reason=f"needs {lacking.what}: {lacking.how}" if lacking else "")


class Convolutional(nn.Module):
    """A residual sum, a mean, a classifier, and its best five, which no NPU finds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.classifier = nn.Linear(16, 10)

    def forward(self, image):
        x = torch.relu(self.norm(self.stem(image)))
        x = x + torch.relu(self.depthwise(x))
        return torch.topk(self.classifier(x.mean((2, 3))), 5)[0]


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 32)
        self.norm = nn.LayerNorm(32)
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 5)

    def forward(self, tokens):
        x = self.norm(self.words(tokens))
        x = x + nn.functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.head(x[:, 0])


def loaded(module, batches: Sequence[tuple[torch.Tensor, ...]]) -> LoadedModel:
    inputs = tuple(batches)
    method = LoadedMethod(
        name="forward", module=module.eval(), example_inputs=inputs[0], golden_inputs=inputs[:3], calibration=inputs
    )
    return LoadedModel(name="tiny", methods=(method,), user_root=str(Path(__file__).parent))


@pytest.fixture(scope="module")
def convolutional() -> LoadedModel:
    torch.manual_seed(0)
    return loaded(Convolutional(), [(torch.randn(1, 3, 32, 32),) for _ in range(8)])


@pytest.fixture(scope="module")
def attending() -> LoadedModel:
    torch.manual_seed(0)
    return loaded(Attending(), [(torch.randint(0, 100, (1, 16)),) for _ in range(8)])


def export(backend: str, precision: str, model: LoadedModel, folder: Path, ethos_u: EthosU | None = None) -> Exported:
    lane = Lane(exporter="executorch", backend=backend, precision=precision)
    request = ExportRequest(lane=lane, os="linux", min_os="", ethos_u=ethos_u, folder=str(folder))
    return ExecutorchExporter().export(model, request, lambda _: None)


def fallbacks(operators: Sequence[Operator]) -> set[str]:
    found = delegation_of(operators)
    assert found is not None
    assert found.macs_share == 1, "all layers are in the delegate"
    return {fallback.operator for fallback in found.fallbacks}


@needs("ethos-u")
@pytest.mark.parametrize("npu", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
def test_an_ethos_u_gets_all_layers_in_int8(npu: str, convolutional: LoadedModel, tmp_path: Path) -> None:
    exported = export("ethos-u", "int8-static", convolutional, tmp_path, EthosU(config=npu))
    boundary = {"quantized_decomposed.quantize_per_tensor", "quantized_decomposed.dequantize_per_tensor"}
    assert fallbacks(exported.operators) == {"aten.topk"} | boundary
    (best,) = [operator for operator in exported.operators if operator.operator == "aten.topk"]
    assert "torch.topk" in best.source
    facts = exported.inspection
    assert facts["backends"] == "EthosUBackend"
    assert facts["numeric_check"] == "not possible without the NPU"
    assert (
        0 < int(facts["NPU weights bytes"]) < sum(parameter.numel() for parameter in convolutional.main.module.parameters()) * 4
    )
    assert int(facts["NPU scratch bytes"]) > 0
    assert float(facts["quantization"].split()[-2]) > 30
    (image,) = exported.methods[0].inputs
    assert (image.dtype, image.shape) == ("float32", (1, 3, 32, 32))


@needs("ethos-u")
def test_a_section_that_vela_does_not_have(convolutional: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        export("ethos-u", "int8-static", convolutional, tmp_path, EthosU(config="ethos-u55-128", memory_mode="Nonsense"))
    assert "Memory_Mode.Nonsense not found in Vela config file" in caught.value.seen


@needs("ethos-u")
def test_an_npu_has_to_be_named(convolutional: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="the target names none") as caught:
        export("ethos-u", "int8-static", convolutional, tmp_path)
    assert "[ethos_u]" in caught.value.next_step


@needs("openvino")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", ["convolutional", "attending"])
def test_openvino_computes_what_pytorch_does(name: str, precision: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    model: LoadedModel = request.getfixturevalue(name)
    exported = export("openvino", precision, model, tmp_path)
    assert exported.inspection["backends"] == "OpenvinoBackend"
    assert fallbacks(exported.operators) == set()
    method = Runtime.get().load_program(tmp_path / exported.entry).load_method("forward")
    given = [method.execute(list(batch))[0].numpy().copy() for batch in model.main.golden_inputs]
    with torch.no_grad():
        wanted = [model.main.module(*batch).numpy() for batch in model.main.golden_inputs]
    agreement = compare([np.stack(given)], [np.stack(wanted)])
    # bfloat16 has 8 bits of a number, on processors that compute in it.
    assert agreement.exact or (agreement.sqnr_db or 0) > {"fp16": 35, "int8": 25}[precision]
    assert "openvino_telemetry" not in sys.modules or sys.modules["openvino_telemetry"] is None
