"""Writes a network of a millisecond and one of some microseconds, as .pte and .tflite, into the folder given."""

from __future__ import annotations

import sys
from pathlib import Path

import litert_torch
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn


def block(inputs: int, outputs: int) -> nn.Module:
    """Convolution and activation, at half the size."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU())


def networks() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Seeded, with an input each."""
    torch.manual_seed(0)
    blocks = [block(3, 32), block(32, 64), block(64, 128), block(128, 256)]
    slow = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))
    fast = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return {"slow": (slow.eval(), torch.randn(1, 3, 192, 192)), "fast": (fast.eval(), torch.randn(1, 256))}


def main() -> None:
    """Export all."""
    folder = Path(sys.argv[1])
    for name, (module, value) in networks().items():
        value.numpy().tofile(folder / f"{name}.bin")
        program = torch.export.export(module, (value,))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        (folder / f"{name}.pte").write_bytes(lowered.buffer)
        litert_torch.convert(module, (value,)).export(str(folder / f"{name}.tflite"))


if __name__ == "__main__":
    main()
