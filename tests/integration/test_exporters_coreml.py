"""Core ML packages: what can be proven of them away from a Mac."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgedeploy.compressors.magnitude import MagnitudePruner
from edgedeploy.domain.artifact import DynamicDim
from edgedeploy.domain.target import Lane
from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml import CoremlExporter
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.ports import Exported, ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
nn = torch.nn

from integration.data_sized import Chosen  # noqa: E402

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]

R = torch.randn


class Wide(nn.Module):
    """Weights large enough to be worth compressing."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)
        self.body = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.head = nn.Linear(64, 32)

    def forward(self, image):
        x = torch.relu(self.norm(self.stem(image)))
        return self.head(torch.relu(self.body(x)).mean((2, 3)))


class Cache(nn.Module):
    """A buffer that forward writes at positions, as language models keep keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = nn.Linear(32, 32)
        self.register_buffer("cache", torch.zeros(1, 16, 32))

    def forward(self, x, positions):
        self.cache[:, positions] = self.keys(x)
        return self.cache.sum(1)


class Counter(nn.Module):
    """A buffer of integers."""

    def __init__(self, start) -> None:
        super().__init__()
        self.register_buffer("count", start)

    def forward(self, x):
        self.count.add_(1)
        return x * self.count


def _method(module, inputs, name: str = "forward", dynamic_shapes: object = None) -> LoadedMethod:
    calibration = (inputs, *(tuple(R(t.shape) if t.is_floating_point() else t for t in inputs) for _ in range(3)))
    return LoadedMethod(
        name=name,
        module=module.eval(),
        example_inputs=inputs,
        golden_inputs=calibration[:2],
        calibration=calibration,
        dynamic_shapes=dynamic_shapes,
    )


def _model(*methods: LoadedMethod) -> LoadedModel:
    return LoadedModel(name="tiny", methods=methods, user_root=str(Path(__file__).parent))


def _export(model: LoadedModel, precision: str, folder: Path, min_os: str = "18") -> Exported:
    lane = Lane(exporter="coreml", backend="mlprogram", precision=precision)
    folder.mkdir(exist_ok=True)
    request = ExportRequest(lane=lane, os="ios", min_os=min_os, compute_units="cpu-and-ne", folder=str(folder))
    return CoremlExporter().export(model, request, lambda _text: None)


@pytest.fixture(scope="module")
def wide() -> LoadedModel:
    torch.manual_seed(0)
    module = Wide().train()
    module(R(16, 3, 16, 16))
    return _model(_method(module, (R(1, 3, 16, 16),)))


@pytest.mark.parametrize(
    ("precision", "bits", "least_db", "kind"),
    [
        ("fp32", 32.0, 130, "float32"),
        ("fp16", 16.0, 60, "float16"),
        ("int8", 8.5, 35, "int8 linear"),
        ("int8-static", 8.5, 35, "int8 linear"),
        ("int8-weights", 8.5, 35, "int8 linear"),
        ("int4-weights", 4.9, 15, "int4 linear"),
        ("palette4", 5.2, 15, "uint4 table"),
        ("palette6", 7.0, 25, "uint6 table"),
    ],
)
def test_weights_take_the_bits_they_should_and_are_what_they_were(
    wide: LoadedModel, precision: str, bits: float, least_db: float, kind: str, tmp_path: Path
) -> None:
    facts = _export(wide, precision, tmp_path / precision).inspection
    assert kind in facts["weights"]
    assert bits - 1.0 <= float(facts["bits per weight"]) <= bits
    worst = facts["weights SQNR"].split(" (")[0].removeprefix("worst ")
    assert worst == "exact" or float(worst.removesuffix(" dB")) > least_db
    assert facts["numeric_check"] in {"not possible on Linux", "left to the verify stage"}
    assert facts["compute units"] == "cpu-and-ne"


def test_int8_quantizes_activations_of_a_convolutional_network(wide: LoadedModel, tmp_path: Path) -> None:
    exported = _export(wide, "int8", tmp_path)
    kinds = [operator.operator for operator in exported.operators]
    assert kinds.count("quantize") >= 4
    assert kinds.count("quantize") == kinds.count("dequantize")
    decibels = float(exported.inspection["int8 arithmetic SQNR"].split()[0])
    assert 20 < decibels < 60


def test_int8_leaves_the_activations_of_a_transformer_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _model(_method(nn.TransformerEncoderLayer(32, 2, 64, batch_first=True), (R(1, 8, 32),)))
    mixed = _export(model, "int8", tmp_path / "mixed")
    static = _export(model, "int8-static", tmp_path / "static")
    assert "activations stay float" in mixed.inspection["quantization"]
    assert "quantize" not in {operator.operator for operator in mixed.operators}
    assert "quantize" in {operator.operator for operator in static.operators}


class WithPositions(nn.Module):
    """Arithmetic on constants (a grid of places), which coremltools computes itself, in integers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 32, 3, padding=1)

    def forward(self, image):
        x = torch.relu(self.body(image))
        places = torch.arange(x.shape[-1]) + 0.5
        return x.mean(1) * torch.arange(4, dtype=x.dtype), places - x.sum((1, 2))


def test_int8_leaves_arithmetic_on_constants_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _model(_method(WithPositions(), (R(1, 3, 4, 4),)))
    exported = _export(model, "int8-static", tmp_path)
    assert "quantize" in {operator.operator for operator in exported.operators}


class Folding(nn.Module):
    """What ReLU leaves, in another shape: unsigned before and after, or coremltools mixes the two up."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.up = nn.Linear(8, 64), nn.ConvTranspose1d(16, 4, 4, stride=2)

    def forward(self, code):
        return self.up(torch.relu(self.expand(code)).unflatten(1, (16, 4))).transpose(1, 2)


def test_int8_goes_through_another_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    exported = _export(_model(_method(Folding(), (R(1, 8),))), "int8", tmp_path)
    assert "quantize" in {operator.operator for operator in exported.operators}


class Spiky(nn.Module):
    """A constant with one scale for all its numbers, one of which is so large that the others are lost to int8's steps."""

    def __init__(self) -> None:
        super().__init__()
        positions = torch.full((1, 32, 64), 0.003)
        positions[0, 0, 0] = 1.0
        self.positions, self.head = nn.Parameter(positions), nn.Linear(64, 32)

    def forward(self, x):
        return self.head(x + self.positions)


def test_a_constant_that_int8_would_ruin_stays_float16(tmp_path: Path) -> None:
    facts = _export(_model(_method(Spiky(), (R(1, 32, 64),))), "int8-weights", tmp_path).inspection
    assert "int8 linear" in facts["weights"]
    assert "float16" in facts["weights"]


@pytest.mark.parametrize(
    ("precision", "kind"), [("sparse-int8", "sparse, int8 linear"), ("sparse-palette4", "sparse, uint4 table")]
)
def test_zeros_of_a_pruned_model_are_not_stored(wide: LoadedModel, precision: str, kind: str, tmp_path: Path) -> None:
    pruned = MagnitudePruner().compress(wide, {"sparsity": 0.8}, lambda _text: None)
    facts = _export(pruned, precision, tmp_path / "pruned").inspection
    assert kind in facts["weights"]
    assert float(facts["bits per weight"]) < 6
    with pytest.raises(ExportError) as caught:
        _export(wide, precision, tmp_path / "dense")
    assert "magnitude" in caught.value.next_step


@pytest.mark.parametrize("precision", ["int4-weights", "sparse-int8"])
def test_a_system_too_old_is_refused_before_anything_is_done(precision: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        _export(_model(_method(nn.Linear(4, 4), (R(1, 4),))), precision, tmp_path, min_os="17")
    assert "needs iOS 18" in caught.value.what
    assert 'min_os = "18"' in caught.value.next_step


def test_operators_know_their_line_module_and_work(wide: LoadedModel, tmp_path: Path) -> None:
    operators = _export(wide, "int8-weights", tmp_path).operators
    work = {operator.operator: operator for operator in operators if operator.macs}
    assert sum(operator.macs for operator in operators) == 16 * 16 * 32 * 27 + 8 * 8 * 64 * 288 + 64 * 32
    assert work["linear"].module == "head"
    assert "self.head(torch.relu(self.body(x)).mean((2, 3)))" in work["linear"].source
    assert {operator.delegate for operator in operators} == {"CoreML"}


def test_moving_dimensions_are_ranges(tmp_path: Path) -> None:
    dims = ({0: torch.export.Dim("batch", min=1, max=8)},)
    model = _model(_method(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), (R(2, 8),), dynamic_shapes=dims))
    for precision in ("fp16", "int8"):
        (method,) = _export(model, precision, tmp_path / precision).methods
        assert method.inputs[0].shape == (2, 8)
        assert method.inputs[0].dynamic == method.outputs[0].dynamic == (DynamicDim(dim=0, low=1, high=8),)


def test_a_moving_dimension_needs_a_bound(tmp_path: Path) -> None:
    model = _model(_method(nn.Linear(8, 8), (R(2, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},)))
    with pytest.raises(ExportError, match="upper bound"):
        _export(model, "fp16", tmp_path)


def test_a_buffer_that_forward_writes_becomes_a_state(tmp_path: Path) -> None:
    exported = _export(_model(_method(Cache(), (R(1, 2, 32), torch.tensor([3, 4])))), "fp16", tmp_path)
    assert exported.inspection["states"] == "inner_cache float16[1,16,32]"
    assert {"read_state", "coreml_update_state"} <= {operator.operator for operator in exported.operators}
    assert len(exported.methods[0].inputs) == 2


@pytest.mark.parametrize(
    ("start", "words"), [(torch.zeros(1, dtype=torch.long), "states are float16"), (torch.ones(1), "begin as zeros")]
)
def test_a_state_that_core_ml_has_not_is_refused(start, words: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        _export(_model(_method(Counter(start), (R(1, 3),))), "fp16", tmp_path)
    assert caught.value.where == "count"


def test_methods_become_functions_that_share_weights(tmp_path: Path) -> None:
    shared = nn.Linear(64, 64)
    first = _method(nn.Sequential(shared, nn.ReLU()), (R(1, 64),))
    second = _method(nn.Sequential(shared, nn.Linear(64, 8)), (R(2, 64),), name="classify")
    exported = _export(_model(first, second), "fp16", tmp_path)
    assert [(method.name, method.entry) for method in exported.methods] == [("forward", "forward"), ("classify", "classify")]
    assert exported.methods[1].outputs[0].shape == (2, 8)
    assert int(exported.inspection["weight bytes"]) < 2 * (64 * 64 + 64 + 64 * 8 + 8) + 1024, "the shared layer is there once"
    assert {operator.method for operator in exported.operators} == {"forward", "classify"}


def test_sizes_that_data_decide_are_no_obstacle(tmp_path: Path) -> None:
    assert _export(_model(_method(Chosen(), (R(6, 8),))), "fp16", tmp_path).operators


class Masked(nn.Module):
    """A mask of minus infinity in a buffer, as transformers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("mask", torch.full((8, 8), float("-inf")).triu(1))

    def forward(self, x):
        return (self.linear(x) @ x.transpose(1, 2) + self.mask).softmax(-1)


@pytest.mark.parametrize("precision", ["fp16", "int8-weights"])
def test_a_mask_of_minus_infinity_is_no_damage(precision: str, tmp_path: Path) -> None:
    assert _export(_model(_method(Masked(), (R(1, 8, 8),))), precision, tmp_path).operators


def test_a_weight_that_is_not_what_it_was_is_caught(wide: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales of the wrong channels: the package is valid, and computes nonsense."""
    from edgedeploy.exporters import coreml_report
    from edgedeploy.exporters.mlpackage import StoredWeight, constants

    def shuffled(program, function):
        for weight in constants(program, function):
            value = np.roll(weight.value, 1, axis=0)
            yield StoredWeight(name=weight.name, kind=weight.kind, bits=weight.bits, value=value)

    monkeypatch.setattr(coreml_report.mlpackage, "constants", shuffled)
    with pytest.raises(ExportError, match="not what the model has"):
        _export(wide, "int8-weights", tmp_path)


class Call(nn.Module):
    """One expression as a module."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


POSITIONS = torch.tensor([4, 1])
ROWS = torch.tensor([[0, 1], [2, 0], [5, 5]])


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        pytest.param(lambda x: torch.fmod(x * 5, 2.0), (R(3, 4),), id="fmod"),
        pytest.param(lambda x, y: torch.fmod(x * 5, y), (R(3, 4), R(3, 4)), id="fmod-tensor"),
        pytest.param(lambda x: torch.trunc(x * 5), (R(3, 4),), id="trunc"),
        pytest.param(lambda i: torch.div(i - 5, 3, rounding_mode="trunc"), (torch.arange(12),), id="integer-division"),
        pytest.param(lambda x, y: torch.where((x > 0) | (y > 0), x, y), (R(3, 4), R(3, 4)), id="or"),
        pytest.param(lambda x, y: torch.where((x > 0) ^ (y > 0), x, y), (R(3, 4), R(3, 4)), id="xor"),
        pytest.param(lambda x: torch.where(torch.isinf(1 / torch.relu(x)), x, x * 2), (R(3, 4),), id="isinf"),
        pytest.param(torch.erfc, (R(3, 4),), id="erfc"),
        pytest.param(lambda x: x.unfold(1, 4, 2), (R(2, 10),), id="unfold"),
        pytest.param(lambda x: x.as_strided((2, 4, 4), (10, 2, 1)), (R(2, 10),), id="as_strided"),
        pytest.param(lambda x, s: x.index_copy(1, POSITIONS, s), (R(2, 6), R(2, 2)), id="index_copy"),
        pytest.param(lambda x: x.index_fill(1, POSITIONS, 2.0), (R(2, 6),), id="index_fill"),
        pytest.param(lambda x, s: x.index_add(1, POSITIONS, s, alpha=2), (R(2, 6), R(2, 2)), id="index_add"),
        pytest.param(lambda x, s: x.index_put((POSITIONS,), s, accumulate=True), (R(6, 3), R(2, 3)), id="index_put"),
        pytest.param(lambda x, m: x.masked_scatter(m, torch.arange(6.0)), (R(2, 3), R(2, 3) > 0), id="masked_scatter"),
        pytest.param(lambda x, s: x.scatter_reduce(0, ROWS, s, "sum", include_self=False), (R(6, 2), R(3, 2)), id="scatter-sum"),
        pytest.param(lambda x, s: x.scatter_reduce(0, ROWS, s, "mean"), (R(6, 2), R(3, 2)), id="scatter-mean"),
        pytest.param(lambda x, s: x.scatter_reduce(0, ROWS, s, "amax", include_self=False), (R(6, 2), R(3, 2)), id="scatter-max"),
        pytest.param(torch.cdist, (R(1, 5, 3), R(1, 4, 3)), id="cdist"),
        pytest.param(lambda x: torch.std_mean(x, 1), (R(2, 6),), id="std_mean"),
        pytest.param(lambda x: x.median(1).values, (R(2, 7),), id="median"),
        pytest.param(lambda x: torch.bucketize(x, torch.tensor([0.0, 0.5, 1.0])), (R(4, 6),), id="bucketize"),
        pytest.param(lambda x: torch.searchsorted(torch.tensor([0.0, 0.5, 1.0]), x, right=True), (R(4, 6),), id="searchsorted"),
        pytest.param(lambda x: nn.functional.adaptive_avg_pool3d(x, 2), (R(1, 2, 4, 4, 4),), id="adaptive_avg_pool3d"),
        pytest.param(nn.Bilinear(3, 4, 5), (R(2, 3), R(2, 4)), id="bilinear"),
        pytest.param(lambda x: x.roll((1, 2), (0, 1)), (R(4, 6),), id="roll"),
        pytest.param(lambda x: (x, x * 2, x), (R(2, 3),), id="inputs-passed-through"),
        pytest.param(nn.functional.relu6, (R(2, 3),), id="relu6"),
        pytest.param(nn.functional.hardtanh, (R(2, 3),), id="hardtanh"),
        pytest.param(lambda x: nn.functional.leaky_relu(x, 0), (R(2, 3),), id="leaky_relu"),
        pytest.param(lambda x: nn.functional.elu(x, alpha=2), (R(2, 3),), id="elu"),
        pytest.param(lambda x: nn.functional.max_pool3d(x, 2), (R(1, 2, 4, 4, 4),), id="max_pool3d"),
        pytest.param(lambda b: b.float() / 255, (torch.arange(6, dtype=torch.uint8),), id="bytes"),
        pytest.param(lambda x, s: x * s, (R(2, 3), torch.tensor(2.0)), id="input-without-dimensions"),
    ],
)
def test_a_rewritten_operator_computes_the_same_and_converts(
    function: Callable[..., object], inputs: tuple[object, ...], tmp_path: Path
) -> None:
    from edgedeploy.exporters.coreml_graph import prepared
    from edgedeploy.exporters.tracing import trace

    model = _model(_method(Call(function), inputs))
    (traced,) = trace(model, "coremltools")
    expected, given = traced.program.module()(*inputs), prepared(traced.program).module()(*inputs)
    for one, other in zip(expected, given, strict=True):
        assert one.dtype == other.dtype
        assert torch.allclose(one.double(), other.double(), atol=1e-5)
    assert _export(model, "fp32", tmp_path).operators


@pytest.mark.parametrize(
    ("module", "inputs", "operator"),
    [
        pytest.param(nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True), (R(2, 5, 4),), "lstm", id="lstm"),
        pytest.param(nn.GRU(4, 6, batch_first=True), (R(2, 5, 4),), "while_loop", id="gru"),
        pytest.param(Call(lambda x: x.prod(1)), (R(3, 4),), "reduce_prod", id="prod"),
        pytest.param(
            Call(lambda x, s: x.scatter_reduce(0, ROWS, s, "amax")), (R(6, 2), R(3, 2)), "scatter_along_axis", id="scatter-max"
        ),
        pytest.param(Call(lambda x: torch.fft.rfft(x).abs()), (R(2, 16),), "matmul", id="fft"),
        pytest.param(nn.PixelShuffle(2), (R(1, 8, 4, 4),), "pixel_shuffle", id="pixel_shuffle"),
    ],
)
def test_an_operator_of_core_mls_own_is_used(module, inputs: tuple[object, ...], operator: str, tmp_path: Path) -> None:
    exported = _export(_model(_method(module, inputs)), "fp16", tmp_path)
    assert operator in {row.operator for row in exported.operators}


@pytest.mark.parametrize(
    ("function", "inputs", "words"),
    [
        pytest.param(
            lambda x: nn.functional.embedding_bag(x, torch.ones(10, 4)), (torch.ones(2, 3, dtype=torch.long),), "nn.Embedding"
        ),
        pytest.param(lambda b: b * 2, (torch.ones(3, dtype=torch.uint8),), r"x\.float\(\)"),
    ],
    ids=["embedding_bag", "bytes"],
)
def test_what_cannot_be_is_said_with_a_way_out(
    function: Callable[..., object], inputs: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as caught:
        _export(_model(_method(Call(function), inputs)), "fp16", tmp_path)
    assert words.replace("\\", "") in caught.value.next_step
