"""Sizes that move in TFLite: what the real converter writes at two sizes, opened, quantized, and run at others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edgedeploy.errors import ExportError
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.source import LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")

from integration.tflite_models import answers, export, loaded, run_here, sqnr_db  # noqa: E402

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]
nn = torch.nn
_BATCH = torch.export.Dim("batch", min=1, max=8)
_LENGTH = torch.export.Dim("length", min=2, max=24)


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 4))

    def forward(self, row):
        return self.layers(row)


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.linear = nn.Linear(8 * 64, 10)

    def forward(self, image):
        return self.linear(torch.relu(self.convolution(image)).flatten(1))


class Encoder(nn.Module):
    """Learned positions, a mask of what counts, and of the tokens to come; heads; the last token, all as far as it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(100, 32), nn.Embedding(64, 32)
        self.mixed, self.out, self.norm = nn.Linear(32, 96), nn.Linear(32, 32), nn.LayerNorm(32)

    def forward(self, ids, kept):
        batch, length = ids.shape
        x = self.words(ids) + self.places(torch.arange(length))
        query, key, value = (part.view(batch, length, 4, 8).transpose(1, 2) for part in self.mixed(x).chunk(3, dim=-1))
        later = torch.full((length, length), float("-inf")).triu(1)
        mask = later + ((1 - kept) * -1e4)[:, None, None, :]
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.norm(x + self.out(attended.transpose(1, 2).reshape(batch, length, 32)))
        return x, x[:, -1], torch.cat([x, torch.zeros(batch, 1, 32)], 1)


def _rows(*sizes: int) -> list[tuple[object, ...]]:
    return [(torch.randn(size, 16),) for size in sizes]


def _texts(*sizes: tuple[int, int]) -> list[tuple[object, ...]]:
    return [(torch.randint(0, 100, size), (torch.arange(size[1]) < max(size[1] - 1, 1)).float().expand(size)) for size in sizes]


def _moving(module: nn.Module, batches: Sequence[tuple[object, ...]], dims: dict[int, object]) -> LoadedModel:
    torch.manual_seed(0)
    return loaded(module, batches, dynamic_shapes=tuple(dims for _ in batches[0]))  # type: ignore[arg-type]


_MODELS: dict[str, Callable[[], LoadedModel]] = {
    "perceptron": lambda: _moving(Perceptron(), _rows(2, 1, 5, 8), {0: _BATCH}),
    "flattened": lambda: _moving(Flattened(), [(torch.randn(size, 3, 8, 8),) for size in (3, 1, 8)], {0: _BATCH}),
    "batch of an encoder": lambda: _moving(Encoder(), _texts((2, 6), (1, 6), (8, 6)), {0: _BATCH}),
    "length of an encoder": lambda: _moving(Encoder(), _texts((1, 6), (1, 2), (1, 24)), {1: _LENGTH}),
    "both": lambda: _moving(Encoder(), _texts((2, 6), (1, 24), (8, 2)), {0: _BATCH, 1: _LENGTH}),
}


@pytest.mark.parametrize("name", _MODELS)
def test_a_size_that_moves_does(name: str, tmp_path: Path) -> None:
    model = _MODELS[name]()
    exported = export(model, "fp32", tmp_path)
    (only,) = exported.methods
    assert only.inputs[0].dynamic == only.outputs[0].dynamic
    for found, right in zip(run_here(tmp_path / exported.entry, model.main), answers(model.main), strict=True):
        assert sqnr_db([found], [right]) > 100


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "int8-weights"])
def test_quantized_it_still_moves(precision: str, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = _MODELS["both"]()
    file = tmp_path / export(model, precision, tmp_path).entry
    for found, right in zip(run_here(file, model.main), answers(model.main), strict=True):
        assert sqnr_db([found], [right]) > 25
    runner = Interpreter(str(file)).get_signature_runner()
    shapes = [detail["shape_signature"].tolist() for detail in runner.get_output_details().values()]
    assert shapes == [[-1, -1, 32], [-1, 32], [-1, -1, 32]]


def test_xnnpack_takes_what_has_one_moving_size(tmp_path: Path) -> None:
    operators = export(_MODELS["perceptron"](), "fp32", tmp_path).operators
    assert {row.delegate for row in operators} == {"XNNPACK"}


class _Mean(nn.Module):
    def forward(self, row):
        return row / row.shape[0]


class _Placed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(64, 16)

    def forward(self, row):
        return row + self.places(torch.arange(row.shape[0]))


@pytest.mark.parametrize(
    ("module", "seen", "next_step"),
    [
        (_Mean(), "takes the constant 0.5, 0.25 at another size", "write the line so that it does not need the size"),
        (_Placed(), "has no max that it could be made for", "give each torch.export.Dim a max"),
    ],
)
def test_what_cannot_move_is_refused_with_its_line(module: nn.Module, seen: str, next_step: str, tmp_path: Path) -> None:
    model = _moving(module.eval(), _rows(2), {0: torch.export.Dim("rows")})
    with pytest.raises(ExportError, match="a size that is to move is fixed") as caught:
        export(model, "fp32", tmp_path)
    assert caught.value.where.startswith("test_tflite_moving.py:")
    assert seen in caught.value.seen
    assert next_step in caught.value.next_step
    assert not list(tmp_path.iterdir())
