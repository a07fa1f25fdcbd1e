"""Convolutions with activation ranges chosen at run time, wherever they stand: the program runs, and is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy.domain.target import Lane
from edgedeploy.exporters.executorch import ExecutorchExporter
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
pytest.importorskip("executorch")
nn = torch.nn

pytestmark = pytest.mark.sdk


class Shuffled(nn.Module):
    """Between the input, or a layer with dimensions in their own order, and each convolution something that reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 2), nn.InstanceNorm2d(8))
        self.second = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(32, 8, 3))
        self.beside = nn.Conv2d(3, 4, 1)
        self.rows = nn.Linear(36, 5)

    def forward(self, image):
        return self.rows(self.second(self.first(image)).flatten(2)), self.beside(image) + image.mean(), image * 2


def test_the_program_runs_and_is_right(tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    torch.manual_seed(0)
    module, image = Shuffled().eval(), torch.randn(1, 3, 16, 16)
    method = LoadedMethod(
        name="forward", module=module, example_inputs=(image,), golden_inputs=((image,),), calibration=((image,),)
    )
    model = LoadedModel(name="shuffled", methods=(method,), user_root=str(Path(__file__).parent))
    lane = Lane(exporter="executorch", backend="xnnpack", precision="int8-dynamic")
    exported = ExecutorchExporter().export(
        model, ExportRequest(lane=lane, os="host", min_os="", folder=str(tmp_path)), lambda _text: None
    )
    ran = Runtime.get().load_program(tmp_path / exported.entry).load_method("forward").execute([image])
    for given, wanted in zip(ran, module(image), strict=True):
        assert float((given - wanted).square().sum()) < 1e-3 * float(wanted.square().sum())
    assert "convolution" not in exported.inspection["undelegated"]
