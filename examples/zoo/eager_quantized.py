"""One small network as PyTorch's eager-mode quantization leaves it: with stubs, and converted to int8 for fbgemm.

edgedeploy takes both: it exports what the layers compute in float, and quantizes that for the target by itself.
"""

import warnings

import torch
from seeded import image, lively, source
from torch import Tensor, nn
from torch.ao import quantization

from edgedeploy import ModelSource

SIZE = 32


def simple_model() -> ModelSource:
    """``SimpleModel`` in float, with QuantStub and DeQuantStub where it would enter and leave int8."""
    torch.manual_seed(1)
    return source(lively(SimpleModel()), lambda g: (image(g, SIZE),))


def simple_model_converted() -> ModelSource:
    """``SimpleModel`` fused, prepared, calibrated and converted: its layers compute in int8, for PyTorch's kernels only."""
    given = simple_model()
    warnings.simplefilter("ignore")  # torch.ao says with every call that it will go
    torch.backends.quantized.engine = "fbgemm"
    model = quantization.fuse_modules(given.module, [["conv1", "bn1", "relu1"], ["conv2", "relu2"]])
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    quantization.prepare(model, inplace=True)
    with torch.no_grad():
        for batch in given.calibration:
            model(*batch)
    return ModelSource(
        module=quantization.convert(model),
        example_inputs=given.example_inputs,
        golden_inputs=given.golden_inputs,
        calibration=given.calibration,
    )


class SimpleModel(nn.Module):
    """Two convolutions and a linear layer between stubs."""

    def __init__(self) -> None:
        super().__init__()
        self.quant = quantization.QuantStub()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.fc = nn.Linear(32 * 4 * 4, 10)
        self.dequant = quantization.DeQuantStub()

    def forward(self, image: Tensor) -> Tensor:
        x = self.quant(image)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.conv2(x))
        x = self.fc(self.pool(x).flatten(1))
        return self.dequant(x)
