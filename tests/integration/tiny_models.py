"""Makes models small enough for an emulated device, in both formats, with PyTorch's own answers.

``python tiny_models.py FOLDER`` fills FOLDER. A process of its own: the exporters log, warn and change global settings.
Per model NAME: ``NAME.pte``, ``NAME.tflite`` where LiteRT can have it, ``NAME.inputK.npy`` and ``NAME.outputK.npy`` with
all cases stacked along a new first axis.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import torch

CASES = 3


class Convolution(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.linear = torch.nn.Linear(8 * 8 * 8, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.convolution(image)).flatten(1))


class Pooled(torch.nn.Module):
    """LiteRT's converter takes a dynamic batch here, and not where images are flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.linear = torch.nn.Linear(8, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.convolution(image)).mean((2, 3)))


class Wide(torch.nn.Module):
    """Large enough for every layer to take microseconds; its cumulative sum is left to the engines' own kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 64, 3, padding=1)
        self.linear = torch.nn.Linear(64, 128)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows = torch.relu(self.convolution(image)).flatten(2).transpose(1, 2)
        return torch.cumsum(self.linear(rows), 1) * 0.5


class TwoInTwoOut(torch.nn.Module):
    """Inputs and outputs of different shapes, so that no mix-up of their order can go unseen."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 6)
        self.embedding = torch.nn.Embedding(20, 6)

    def forward(self, values: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mixed = self.linear(values) + self.embedding(ids)
        return mixed, mixed.sum(-1) * 2


class ManyInputs(torch.nn.Module):
    """args_10 and args_11 come before args_2 in the alphabet, and must not in the protocol."""

    def forward(self, *terms: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(terms[0])
        for weight, term in enumerate(terms):
            total = total + term * float(weight + 1)
        return total


class ChannelsLast(torch.nn.Module):
    """Exported with channels-last images: in memory its tensors are not in the protocol's order."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(image))


class Encoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 6)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.linear(values))


class Decoder(torch.nn.Module):
    """Two inputs where the encoder has one, so that no method can be taken for the other."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(6, 3)

    def forward(self, state: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mixed = self.linear(state) + bias
        return mixed, mixed.sum(-1)


Methods = dict[str, tuple[torch.nn.Module, tuple[torch.Tensor, ...]]]


def save(folder: Path, name: str, model: torch.nn.Module, cases: list[tuple[torch.Tensor, ...]]) -> None:
    with torch.no_grad():
        answers = [model(*case) for case in cases]
    answers = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
    for kind, tensors in (("input", cases), ("output", answers)):
        for index in range(len(tensors[0])):
            stacked = np.stack([case[index].contiguous().numpy() for case in tensors])
            np.save(folder / f"{name}.{kind}{index}.npy", stacked)


def export_pte(path: Path, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], dynamic: object = None) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(model, inputs, dynamic_shapes=dynamic)
    to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().save(str(path))


def export_tflite(path: Path, model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], dynamic: object = None) -> None:
    import litert_torch

    litert_torch.convert(model, inputs, dynamic_shapes=dynamic).export(str(path))


def export_methods_pte(path: Path, methods: Methods) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    programs = {name: torch.export.export(model, inputs) for name, (model, inputs) in methods.items()}
    partitioners = {name: [XnnpackPartitioner()] for name in methods}
    to_edge_transform_and_lower(programs, partitioner=partitioners).to_executorch().save(str(path))


def export_methods_tflite(path: Path, methods: Methods) -> None:
    import litert_torch

    chain = None
    for name, (model, inputs) in methods.items():
        chain = (chain or litert_torch).signature(name, model, inputs)
    assert chain is not None
    chain.convert().export(str(path))


def main(folder: Path) -> None:
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.manual_seed(7)
    torch.set_num_threads(1)
    image = torch.channels_last
    models: dict[str, tuple[torch.nn.Module, list[tuple[torch.Tensor, ...]]]] = {
        "convolution": (Convolution().eval(), [(torch.randn(1, 3, 8, 8),) for _ in range(CASES)]),
        "wide": (Wide().eval(), [(torch.randn(1, 3, 24, 24),)]),
        "two": (
            TwoInTwoOut().eval(),
            [(torch.randn(1, 5, 4), torch.randint(0, 20, (1, 5))) for _ in range(CASES)],
        ),
        "many": (ManyInputs().eval(), [tuple(torch.randn(2, 3) for _ in range(12)) for _ in range(CASES)]),
        "last": (
            ChannelsLast().eval(),
            [(torch.randn(1, 3, 6, 7).to(memory_format=image),) for _ in range(CASES)],
        ),
    }
    for name, (model, cases) in models.items():
        save(folder, name, model, cases)
        export_pte(folder / f"{name}.pte", model, cases[0])
    export_dynamic(folder)
    export_methods(folder)
    for name in ("convolution", "wide", "two", "many"):
        export_tflite(folder / f"{name}.tflite", *((models[name][0], models[name][1][0])))


def export_dynamic(folder: Path) -> None:
    """``batch``: one dynamic dimension. ``sequence`` (.pte): another one, shared by two inputs."""
    model = Pooled().eval()
    images = torch.randn(4, 3, 8, 8)
    np.save(folder / "batch.images.npy", images.numpy())
    np.save(folder / "batch.answers.npy", model(images).detach().numpy())
    batch = ({0: torch.export.Dim("batch", min=1, max=4)},)
    export_pte(folder / "batch.pte", model, (images[:2],), batch)
    export_tflite(folder / "batch.tflite", model, (images[:2],), batch)
    sequence = torch.export.Dim("sequence", min=2, max=7)
    both = ({1: sequence}, {1: sequence})
    two = TwoInTwoOut().eval()
    values, ids = torch.randn(1, 7, 4), torch.randint(0, 20, (1, 7))
    export_pte(folder / "sequence.pte", two, (values[:, :5], ids[:, :5]), both)
    for name, tensor in (("values", values), ("ids", ids), ("answers", two(values, ids)[0].detach())):
        np.save(folder / f"sequence.{name}.npy", tensor.numpy())


def export_methods(folder: Path) -> None:
    """``methods``: two methods, none of them called as a default one is. Each is saved as a model of its own, too."""
    encoder, decoder = Encoder().eval(), Decoder().eval()
    encoder_cases = [(torch.randn(1, 5, 4),) for _ in range(CASES)]
    decoder_cases = [(torch.randn(1, 5, 6), torch.randn(1, 5, 3)) for _ in range(CASES)]
    save(folder, "encode", encoder, encoder_cases)
    save(folder, "decode", decoder, decoder_cases)
    methods: Methods = {"encode": (encoder, encoder_cases[0]), "decode": (decoder, decoder_cases[0])}
    export_methods_pte(folder / "methods.pte", methods)
    export_methods_tflite(folder / "methods.tflite", methods)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
