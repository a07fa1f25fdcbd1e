"""State that forward changes: ExecuTorch keeps it in every precision, from the value it has; the model's own is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedeploy import registry
from edgedeploy.domain.target import Lane
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.sdk


class Remembers(torch.nn.Module):
    """Adds a running mean of what it has seen, which in-place operators change."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.register_buffer("mean", torch.full((1, 8), start))

    def forward(self, x):
        self.mean.mul_(0.5).add_(x.mean(0, keepdim=True))
        return self.layer(x) + self.mean


def cases() -> tuple:
    torch.manual_seed(0)
    return tuple((torch.randn(2, 8) + 1,) for _ in range(6))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weights"])
def test_it_is_kept(precision: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("executorch.runtime").Runtime.get()
    given, module = cases(), Remembers(start=3.0).eval()
    method = LoadedMethod(name="forward", module=module, example_inputs=given[0], golden_inputs=given, calibration=given)
    model = LoadedModel(name="remembers", methods=(method,), user_root=str(Path(__file__).parent))
    lane = Lane(exporter="executorch", backend="xnnpack", precision=precision)
    request = ExportRequest(lane=lane, os="host", min_os="", folder=str(tmp_path))
    made = registry.exporter("executorch").export(model, request, lambda _text: None)
    assert torch.equal(module.mean, torch.full((1, 8), 3.0))
    program = runtime.load_program(tmp_path / made.entry).load_method("forward")
    for (x,) in given:
        torch.testing.assert_close(program.execute([x])[0], module(x), atol=0.1, rtol=0)
