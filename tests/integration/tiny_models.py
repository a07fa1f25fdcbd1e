"""Makes models small enough for an emulated device, in both formats, with PyTorch's own answers.

``python tiny_models.py FOLDER`` fills FOLDER. A process of its own: the exporters log, warn and change global settings.
Per model NAME: ``NAME.pte``, ``NAME.tflite`` where LiteRT can have it, ``NAME.inputK.npy`` and ``NAME.outputK.npy`` with
all cases stacked along a new first axis; for some ``NAME.pte.json`` or ``NAME.tflite.json`` with what runs where.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import msgspec
import numpy as np
import torch

from edgedeploy.domain.artifact import DelegateGraph, Operator
from edgedeploy.exporters.signature import flatten_outputs

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


class Mixed(torch.nn.Module):
    """Convolutions that XNNPACK fuses, moves to channels last or runs as products, attention, and operators it has not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 48, 3, padding=1, bias=False), torch.nn.BatchNorm2d(48), torch.nn.ReLU6()
        )
        self.depthwise = torch.nn.Sequential(torch.nn.Conv2d(48, 48, 3, padding=1, groups=48), torch.nn.Hardswish())
        self.pointwise = torch.nn.Conv2d(48, 48, 1)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.query, self.key, self.value = (torch.nn.Linear(48, 48) for _ in range(3))
        self.norm = torch.nn.LayerNorm(48)
        self.head = torch.nn.Linear(48, 10)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.depthwise(self.stem(image))
        features = self.pointwise(features) + features
        rows = self.norm(features.flatten(2).transpose(1, 2))
        scores = self.query(rows) @ self.key(rows).transpose(1, 2)
        attended = torch.softmax(scores * 0.1, -1) @ self.value(rows)
        summed = torch.cat([torch.cumsum(attended, 1), attended], -1)[:, :, 24:72]
        return self.head(torch.sigmoid(summed).mean(1)), self.pool(features).flatten(1)


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


class Named(torch.nn.Module):
    """Names in another order than that of the alphabet and of the numbers in them."""

    def forward(self, scores: torch.Tensor, args_1: torch.Tensor, args_0: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"output_1": scores + 2 * args_1, "logits": args_0 * 3, "output_0": args_1 - args_0}


class Attending(torch.nn.Module):
    """Heads make a shape with two moving sizes, and positions are a table that is cut to the length."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(9, 8))
        self.mixed = torch.nn.Linear(8, 24)

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch, length, _ = values.shape
        parts = self.mixed(values + self.table[:length]).chunk(3, dim=-1)
        query, key, value = (part.reshape(batch, length, 2, 4).transpose(1, 2) for part in parts)
        result = torch.softmax(query @ key.transpose(2, 3), -1) @ value
        return result, result[:, :, -1]


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
    answers = [flatten_outputs(answer) for answer in answers]
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
    export_mixed(folder)
    export_named(folder)
    export_attending(folder)
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


def export_attending(folder: Path) -> None:
    """``attending`` (.tflite, by edgedeploy): a batch and a sequence, which both move."""
    from tflite_models import export, loaded

    model, values = Attending().eval(), torch.randn(4, 9, 8)
    sizes = {0: torch.export.Dim("batch", min=1, max=4), 1: torch.export.Dim("length", min=2, max=9)}
    exported = export(loaded(model, [(values[:2, :5].contiguous(),)], dynamic_shapes=(sizes,)), "fp32", folder)
    (folder / exported.entry).rename(folder / "attending.tflite")
    for batch, length in ((1, 2), (3, 6), (4, 9)):
        given = values[:batch, :length].contiguous()
        np.save(folder / f"attending.{batch}x{length}.npy", given.numpy())
        for index, answer in enumerate(model(given)):
            np.save(folder / f"attending.{batch}x{length}.answer{index}.npy", answer.detach().numpy())


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


def export_named(folder: Path) -> None:
    """``named``: by edgedeploy itself, which gives inputs and outputs the user's names."""
    from tflite_models import export, loaded

    cases = [tuple(torch.randn(2, 3) for _ in range(3)) for _ in range(CASES)]
    save(folder, "named", Named(), cases)
    exported = export(loaded(Named(), cases), "fp32", folder)
    (folder / exported.entry).rename(folder / "named.tflite")


class WhatRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``NAME.pte.json`` and ``NAME.tflite.json``."""

    operators: tuple[Operator, ...]
    delegate_graphs: tuple[DelegateGraph, ...] = ()


def export_mixed(folder: Path) -> None:
    """``mixed`` in float32, ``mixed8`` in static int8; with what runs where."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    model, inputs = Mixed().eval(), (torch.randn(1, 3, 16, 16),)
    save(folder, "mixed", model, [inputs])
    save(folder, "mixed8", model, [inputs])
    program = torch.export.export(model, inputs)
    write_with_operators(folder / "mixed.pte", program)
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    observed = prepare_pt2e(program.module(), quantizer)
    observed(*inputs)
    write_with_operators(folder / "mixed8.pte", torch.export.export(convert_pt2e(observed), inputs))
    export_tflite(folder / "mixed.tflite", model, inputs)
    rows = WhatRuns(operators=operators_of_tflite(folder / "mixed.tflite"))
    (folder / "mixed.tflite.json").write_bytes(msgspec.json.encode(rows))


def write_with_operators(path: Path, program: torch.export.ExportedProgram) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from edgedeploy.exporters.executorch_operators import what_runs

    done = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    done.save(str(path))
    (plan,) = done.executorch_program.execution_plan
    found = what_runs(done.exported_program(), plan, method="forward", user_root=str(Path(__file__).parent))
    rows = WhatRuns(operators=found.operators, delegate_graphs=found.delegate_graphs)
    path.with_suffix(".pte.json").write_bytes(msgspec.json.encode(rows))


def operators_of_tflite(path: Path) -> tuple[Operator, ...]:
    """The operators of the first graph, each with its place."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes]
    graph = model.subgraphs[0]
    return tuple(
        Operator(operator=codes[operator.opcodeIndex], name=graph.tensors[operator.outputs[0]].name.decode(), call=call)
        for call, operator in enumerate(graph.operators)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
