"""TFLite's precisions, signatures and a batch that moves, converted by the real SDKs and run by the real engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgedeploy.domain.precision import PRECISIONS
from edgedeploy.errors import ExportError
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.exporters.tflite import TfliteExporter
from edgedeploy.exporters.tflite_graph import read_graphs
from edgedeploy.ports import Exported, ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
nn = torch.nn

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]

_LANES = {lane.precision: lane for lane in TfliteExporter().lanes()}
_OLD = {"tflite-runtime": "2.14.0"}


class Images(nn.Module):
    """Channels of very different size, so that one scale for all of them would show."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.classifier = nn.Linear(32, 10)

    def forward(self, image):
        x = torch.relu(self.stem(image))
        x = x + torch.relu(self.depthwise(x))
        return self.classifier(x.mean((2, 3)))


class Tokens(nn.Module):
    """An embedding, LayerNorm, attention under a causal mask of minus infinities."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(200, 64)
        self.norm = nn.LayerNorm(64)
        self.query, self.key, self.value = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64)
        self.head = nn.Linear(64, 16)

    def forward(self, tokens):
        x = self.norm(self.words(tokens))
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 8 + mask
        return self.head(x + scores.softmax(-1) @ self.value(x))


def _uneven(module):
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.Embedding)):
            rows = torch.logspace(-0.3, 0.3, layer.weight.shape[0])
            layer.weight.data *= rows[torch.randperm(len(rows))].reshape(-1, *[1] * (layer.weight.dim() - 1))
    return module.eval()


def _method(module, batches: Sequence[tuple[object, ...]], name: str = "forward", dynamic: object = None) -> LoadedMethod:
    inputs = tuple(batches)
    return LoadedMethod(
        name=name,
        module=module,
        example_inputs=inputs[0],  # type: ignore[arg-type]  # torch is only imported if it is there
        golden_inputs=inputs[:3],  # type: ignore[arg-type]
        calibration=inputs,  # type: ignore[arg-type]
        dynamic_shapes=dynamic,
    )


def _model(*methods: LoadedMethod) -> LoadedModel:
    return LoadedModel(name="tiny", methods=methods, user_root=str(Path(__file__).parent))


@pytest.fixture(scope="module")
def models() -> Mapping[str, LoadedModel]:
    torch.manual_seed(0)
    images = _method(_uneven(Images()), [(torch.randn(1, 3, 32, 32),) for _ in range(8)])
    tokens = _method(_uneven(Tokens()), [(torch.randint(0, 200, (1, 16)),) for _ in range(8)])
    return {"images": _model(images), "tokens": _model(tokens)}


def _export(model: LoadedModel, precision: str, folder: Path, runtime_versions: dict[str, str] | None = None) -> Exported:
    request = ExportRequest(
        lane=_LANES[precision], os="linux", min_os="", runtime_versions=runtime_versions or {}, folder=str(folder)
    )
    return TfliteExporter().export(model, request, lambda _text: None)


def _sqnr_db(model: LoadedModel, exported: Exported, folder: Path) -> float:
    """The worst over all methods and outputs, on their golden inputs."""
    from ai_edge_litert.interpreter import Interpreter

    worst = float("inf")
    for method, of_model in zip(exported.methods, model.methods, strict=True):
        assert method.name == of_model.name
        runner = Interpreter(str(folder / exported.entry), num_threads=1).get_signature_runner(method.entry)
        for batch in of_model.golden_inputs:
            named = {s.name: t.numpy().astype(s.dtype) for s, t in zip(method.inputs, batch, strict=True)}
            results = runner(**named)
            with torch.no_grad():
                references = flatten_outputs(of_model.module(*batch))
            for spec, reference in zip(method.outputs, references, strict=True):
                right = reference.numpy().astype(np.float64)
                noise = ((right - results[spec.name]) ** 2).sum()
                worst = min(worst, float(10 * np.log10((right**2).sum() / noise)) if noise else float("inf"))
    return worst


@pytest.mark.parametrize("name", ["images", "tokens"])
@pytest.mark.parametrize("precision", list(_LANES))
def test_every_precision_keeps_its_floor(models: Mapping[str, LoadedModel], name: str, precision: str, tmp_path: Path) -> None:
    exported = _export(models[name], precision, tmp_path)
    floor = PRECISIONS[precision].floors.min_sqnr_db
    assert floor is not None
    assert _sqnr_db(models[name], exported, tmp_path) > floor
    types = _types(tmp_path / exported.entry)
    expected = {
        "fp32": {"FLOAT32"},
        "fp16": {"FLOAT16"},
        "int4-weights": {"INT4"},
        "8da4w": {"INT4"},
        "16x8": {"INT16", "INT8"},
    }.get(precision, {"INT8"})
    assert expected <= types
    assert ("INT8" in types) <= (precision not in ("fp32", "fp16"))


def _types(file: Path) -> set[str]:
    operators = (operator for graph in read_graphs(file.read_bytes()) for operator in graph.operators)
    return {t.type for o in operators for t in (*o.inputs, *o.outputs) if t is not None}


def test_a_precision_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    model = _model(_method(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), [(torch.randn(1, 8),)]))
    with pytest.raises(ExportError, match="nothing in this model can be 8da4w"):
        _export(model, "8da4w", tmp_path)


def test_operators_know_their_place(models: Mapping[str, LoadedModel], tmp_path: Path) -> None:
    operators = _export(models["images"], "int8", tmp_path).operators
    rows = {row.module: row for row in operators if row.macs}
    assert set(rows) == {"stem", "depthwise", "classifier"}
    assert rows["stem"].operator == "CONV_2D"
    assert rows["stem"].macs == 16 * 16 * 32 * 3 * 9
    assert rows["depthwise"].macs == 16 * 16 * 32 * 9
    assert rows["classifier"].macs == 32 * 10
    assert all(row.delegate == "XNNPACK" for row in rows.values())
    assert rows["stem"].source.startswith("test_tflite_lanes.py:")
    assert rows["stem"].source.endswith("`x = torch.relu(self.stem(image))`")
    assert [row.call for row in operators] == list(range(len(operators)))


def test_an_operator_that_xnnpack_does_not_take_has_no_delegate(models: Mapping[str, LoadedModel], tmp_path: Path) -> None:
    operators = _export(models["tokens"], "fp32", tmp_path).operators
    delegates = {row.operator: row.delegate for row in operators}
    assert delegates["EMBEDDING_LOOKUP"] is None
    assert delegates["SOFTMAX"] == "XNNPACK"


class _Encode(nn.Module):
    def __init__(self, body) -> None:
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


class _Compare(nn.Module):
    def __init__(self, body) -> None:
        super().__init__()
        self.body = body

    def forward(self, left, right):
        return (self.body(left) * self.body(right)).sum(-1), self.body(left)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-dynamic"])
def test_methods_are_signatures_that_share_weights(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 128)).eval()
    one = _method(_Encode(body).eval(), [(torch.randn(1, 128),) for _ in range(4)])
    two = _method(_Compare(body).eval(), [(torch.randn(1, 128), torch.randn(1, 128)) for _ in range(4)], "compare")
    model = _model(one, two)
    exported = _export(model, precision, tmp_path)
    assert [(method.name, method.entry) for method in exported.methods] == [("forward", "forward"), ("compare", "compare")]
    assert [len(method.inputs) for method in exported.methods] == [1, 2]
    assert _sqnr_db(model, exported, tmp_path) > 25
    weight_bytes = 2 * 128 * 256 * (4 if precision == "fp32" else 1)
    assert (tmp_path / exported.entry).stat().st_size < 1.5 * weight_bytes
    macs = {name: sum(row.macs for row in exported.operators if row.method == name) for name in ("forward", "compare")}
    assert macs["forward"] == 2 * 128 * 256
    assert macs["compare"] == 2 * macs["forward"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_batch_that_moves(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=16)
    batches = [(torch.randn(count, 3, 32, 32),) for count in (2, 1, 5, 2)]
    model = _model(_method(Images().eval(), batches, dynamic=({0: batch},)))
    exported = _export(model, precision, tmp_path)
    (given,), (result,) = exported.methods[0].inputs, exported.methods[0].outputs
    assert given.shape == (2, 3, 32, 32)
    assert [(dim.dim, dim.low, dim.high) for dim in given.dynamic] == [(0, 1, 16)]
    assert result.shape == (2, 10)
    assert [dim.dim for dim in result.dynamic] == [0]
    assert _sqnr_db(model, exported, tmp_path) > (100 if precision == "fp32" else 25)
    assert sum(row.macs for row in exported.operators if row.module == "classifier") == 2 * 32 * 10


@pytest.mark.parametrize(
    ("precision", "operator"), [("int4-weights", "DEQUANTIZE"), ("8da4w", "FULLY_CONNECTED"), ("16x8", "FULLY_CONNECTED")]
)
def test_what_the_old_engine_gets_wrong_is_refused(
    models: Mapping[str, LoadedModel], precision: str, operator: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"tflite-runtime 2\.14\.0") as caught:
        _export(models["tokens"], precision, tmp_path, _OLD)
    assert caught.value.seen.startswith(operator)
    assert caught.value.next_step
    assert not list(tmp_path.iterdir()), "nothing is left that could be pushed"


@pytest.mark.parametrize("precision", ["int8", "int8-static", "int8-dynamic"])
def test_what_the_old_engine_would_get_wrong_is_written_so_that_it_does_not(
    models: Mapping[str, LoadedModel], precision: str, tmp_path: Path
) -> None:
    from edgedeploy.exporters.tflite_compatibility import incompatibilities

    for folder, versions in (("new", {}), ("old", _OLD)):
        (tmp_path / folder).mkdir()
        exported = _export(models["tokens"], precision, tmp_path / folder, versions)
        found = incompatibilities(read_graphs((tmp_path / folder / exported.entry).read_bytes()))
        assert bool(found) == (folder == "new")
        assert _sqnr_db(models["tokens"], exported, tmp_path / folder) > 15


class _Running(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("mean", torch.zeros(1, 8))

    def forward(self, x):
        self.mean.copy_(0.9 * self.mean + self.linear(x))
        return self.mean * 1


def test_a_buffer_that_forward_changes_is_refused(tmp_path: Path) -> None:
    """litert-torch drops the change: the first call would be right, and all later ones wrong."""
    model = _model(_method(_Running().eval(), [(torch.randn(1, 8),)]))
    with pytest.raises(ExportError, match="a model with state") as caught:
        _export(model, "fp32", tmp_path)
    assert caught.value.where == "mean"
    assert "inputs and outputs" in caught.value.next_step


class _Sorted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return torch.sort(self.linear(x)).values


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_operator_without_a_kernel_is_named_with_its_line(precision: str, tmp_path: Path) -> None:
    model = _model(_method(_Sorted().eval(), [(torch.randn(2, 8),)]))
    with pytest.raises(ExportError) as caught:
        _export(model, precision, tmp_path)
    assert caught.value.what == "LiteRT cannot run operator STABLEHLO_SORT"
    assert caught.value.where.endswith("`return torch.sort(self.linear(x)).values`")
    assert caught.value.next_step


class _PooledWhole(nn.Module):
    """A window larger than the picture, as in transformers' EfficientNet."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.pool, self.head = nn.Conv2d(3, 8, 3), nn.AvgPool2d(64, ceil_mode=True), nn.Linear(8, 4)

    def forward(self, image):
        return self.head(self.pool(torch.relu(self.filter(image))).flatten(1))


def test_a_window_larger_than_the_picture_is_a_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _model(_method(_PooledWhole().eval(), [(torch.randn(1, 3, 6, 6),) for _ in range(4)]))
    exported = _export(model, "int8", tmp_path)
    assert _sqnr_db(model, exported, tmp_path) > 25
    assert not [operator for operator in exported.operators if "PAD" in operator.operator]


class _OneHot(nn.Module):
    def forward(self, x):
        return nn.functional.one_hot(x.argmax(-1), 8).float() * x


def test_assertions_about_values_are_left_out(tmp_path: Path) -> None:
    model = _model(_method(_OneHot().eval(), [(torch.randn(2, 8),)]))
    exported = _export(model, "fp32", tmp_path)
    assert _sqnr_db(model, exported, tmp_path) > 100


class _Passed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        y = self.linear(x)
        return y, y, x


def test_outputs_are_values_of_their_own(tmp_path: Path) -> None:
    """LiteRT's compiled models write a value once: of two outputs that are one, the second would hold what was there before."""
    model = _model(_method(_Passed().eval(), [(torch.randn(2, 8),)]))
    exported = _export(model, "fp32", tmp_path)
    (graph,) = read_graphs((tmp_path / exported.entry).read_bytes())
    assert len({*graph.outputs, *graph.inputs}) == 4
    assert _sqnr_db(model, exported, tmp_path) > 100


class _Inside(nn.Module):
    """Values from the inside as outputs, which a layer and a sum of scales read, too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 64)
        self.other = nn.Linear(32, 64)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        hidden, large = torch.tanh(self.linear(x)), torch.relu(self.other(x) * 3)
        return self.out(torch.cat((hidden, large), -1)), hidden, large


@pytest.mark.parametrize("precision", ["int8", "16x8"])
def test_an_output_that_is_read_inside_stays_float(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _model(_method(_Inside().eval(), [(torch.randn(2, 32),) for _ in range(6)]))
    exported = _export(model, precision, tmp_path)
    assert {spec.dtype for spec in exported.methods[0].outputs} == {"float32"}
    assert _sqnr_db(model, exported, tmp_path) > 25
    assert {row.module for row in exported.operators if row.macs} >= {"linear", "out"}


class _Call(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda x: nn.functional.interpolate(x, size=(4, 12)), id="nearest-to-a-size"),
        pytest.param(lambda x: nn.functional.interpolate(x, scale_factor=1.5), id="nearest-by-a-factor"),
        pytest.param(lambda x: nn.functional.interpolate(x, scale_factor=2), id="nearest-evenly"),
        pytest.param(lambda x: torch.add(x, x * x, alpha=2), id="add-alpha"),
        pytest.param(lambda x: torch.sub(x, x * x, alpha=2), id="sub-alpha"),
    ],
)
def test_an_operator_that_litert_torch_gets_wrong_is_written_otherwise(function: object, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _model(_method(_Call(function).eval(), [(torch.randn(1, 3, 8, 8),)]))
    assert _sqnr_db(model, _export(model, "fp32", tmp_path), tmp_path) > 100
