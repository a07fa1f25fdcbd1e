"""A small image classifier: replace it by your own model, keep the shape of ``tinynet``."""

import torch
from torch import Tensor, nn

from edgedeploy import ModelSource


class Block(nn.Module):
    """Depthwise 3x3, pointwise 1x1: what phones run fast."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels_in, 3, stride, padding=1, groups=channels_in, bias=False),
            nn.BatchNorm2d(channels_in),
            nn.ReLU6(),
            nn.Conv2d(channels_in, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU6(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def tinynet() -> ModelSource:
    """Weights are random but always the same: enough to see every stage work. Load yours here."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1),
        nn.ReLU6(),
        Block(32, 64, stride=1),
        Block(64, 128, stride=2),
        Block(128, 256, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, 10),
    ).eval()
    # module.load_state_dict(torch.load("weights.pt", weights_only=True))
    images = [torch.randn(1, 3, 96, 96) for _ in range(20)]  # real images make int8 accurate
    return ModelSource(
        module=module,
        example_inputs=(images[0],),
        golden_inputs=[(image,) for image in images[:4]],  # compared with PyTorch, here and on the device
        calibration=[(image,) for image in images[4:]],  # int8 chooses its scales by these
    )
