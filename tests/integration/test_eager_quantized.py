"""Models as torch.ao's eager-mode and FX graph mode quantization leave them, and the float models made of them."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable

import pytest

from edgedeploy.agreement import compare
from edgedeploy.errors import ModelError

torch = pytest.importorskip("torch")
nn = torch.nn

# Every call into torch.ao warns that it will go.
pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore")]


class Convolutional(nn.Module):
    """A fused convolution, a residual sum, a concatenation, activations with scales of their own, a fused linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.swish, self.leaky, self.relu6 = nn.Hardswish(), nn.LeakyReLU(0.2), nn.ReLU6()
        self.second_norm = nn.BatchNorm2d(8)
        self.sum, self.side_by_side = nn.quantized.FloatFunctional(), nn.quantized.FloatFunctional()
        self.wide, self.wide_relu, self.narrow = nn.Linear(16 * 16, 12), nn.ReLU(), nn.Linear(12, 6)

    def forward(self, image):
        x = self.relu(self.norm(self.conv(self.quant(image))))
        y = self.second_norm(self.leaky(self.swish(self.grouped(x))))
        y = self.side_by_side.cat([self.sum.add(x, y), self.relu6(x)], 1)
        y = nn.functional.avg_pool2d(y, 4).flatten(1)
        return self.dequant(self.narrow(self.wide_relu(self.wide(y))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(48, 20, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(40, 16, batch_first=True)
        self.cell, self.gru_cell, self.plain_cell = nn.LSTMCell(16, 8), nn.GRUCell(8, 8), nn.RNNCell(8, 8, nonlinearity="relu")
        self.head = nn.Linear(8, 4)

    def forward(self, image):
        states, _ = self.gru(self.lstm(image.flatten(1).unflatten(1, (16, 48)))[0])
        hidden, _ = self.cell(states[:, -1])
        return self.head(self.plain_cell(self.gru_cell(hidden)))


class StubbedLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.lstm = nn.LSTM(48, 20, batch_first=True)

    def forward(self, image):
        return self.dequant(self.lstm(self.quant(image.flatten(1).unflatten(1, (16, 48))))[0])


class Tables(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.bag, self.head = nn.Embedding(50, 16), nn.EmbeddingBag(50, 16, mode="sum"), nn.Linear(16, 4)

    def forward(self, image):
        ids = (image.flatten(1).abs() * 10).long().clamp(max=49)
        return self.head(self.table(ids).mean(1) + self.bag(ids))


class Functional(nn.Module):
    """Nothing that eager mode could quantize but its layers; FX graph mode does the sum, the product and the concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(6 * 16, 5)

    def forward(self, image):
        x = torch.relu(self.norm(self.conv(image))) + image
        x = torch.cat([x, x * x], 1)
        return self.head(nn.functional.avg_pool2d(x, 4).flatten(1))


@pytest.fixture
def batches():
    """Noise around a mean per channel: pooling leaves nothing of noise alone, and int8 less."""
    torch.manual_seed(0)
    return [(torch.randn(1, 3, 16, 16) + 2 * torch.randn(1, 3, 1, 1),) for _ in range(8)]


@pytest.fixture
def convolutional(batches):
    module = Convolutional()
    module.train()(torch.cat([batch[0] for batch in batches]))  # gives BatchNorm statistics that are not the identity
    return module.eval()


def fused_and_observed(module, batches):
    quantization = torch.ao.quantization
    fused = quantization.fuse_modules(copy.deepcopy(module), [["conv", "norm", "relu"], ["wide", "wide_relu"]])
    return observed(fused, batches)


def observed(module, batches):
    module.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    prepared = torch.ao.quantization.prepare(module)
    with torch.no_grad():
        for batch in batches:
            prepared(*batch)
    return prepared


def sqnr_db(module, reference, batches) -> float:
    with torch.no_grad():
        pairs = [(module(*batch).numpy(), reference(*batch).numpy()) for batch in batches]
    agreement = compare([output for output, _ in pairs], [wanted for _, wanted in pairs])
    return 999.0 if agreement.exact else float(agreement.sqnr_db or 0)


def twin_of(module, batches):
    from edgedeploy.worker.eager_quantized import float_twin

    return float_twin(copy.deepcopy(module), batches[:3], "edgedeploy.toml: models.m.source")


def expect_plain(twin, batches) -> None:
    """No layer of torch.ao but those that compute in float, and a graph without quantized operators."""
    program = torch.export.export(twin, batches[0], strict=False)
    assert not [node.target for node in program.graph.nodes if "quant" in str(node.target) and node.op == "call_function"]
    assert not [buffer for name, buffer in twin.named_buffers() if "observer" in name or "min_val" in name]


def test_other_models_come_back_as_they_are(batches) -> None:
    from edgedeploy.worker.eager_quantized import float_twin

    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    assert float_twin(module, batches, "here") is module


def test_a_float_model_with_stubs(convolutional, batches) -> None:
    twin = twin_of(convolutional, batches)
    expect_plain(twin, batches)
    assert not [part for part in twin.modules() if "Stub" in type(part).__name__]
    assert sqnr_db(twin, convolutional, batches) == 999.0


def test_a_prepared_model_loses_its_observers_and_nothing_else(convolutional, batches) -> None:
    prepared = fused_and_observed(convolutional, batches)
    assert any("MinMax" in type(part).__name__ or "Observer" in type(part).__name__ for part in prepared.modules())
    twin = twin_of(prepared, batches)
    expect_plain(twin, batches)
    assert not [part for part in twin.modules() if "Observer" in type(part).__name__]
    assert sqnr_db(twin, prepared, batches) == 999.0


def test_a_model_prepared_for_quantization_aware_training(convolutional, batches) -> None:
    quantization = torch.ao.quantization
    fused = quantization.fuse_modules_qat(copy.deepcopy(convolutional).train(), [["conv", "norm", "relu"], ["wide", "wide_relu"]])
    fused.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    prepared = quantization.prepare_qat(fused)
    prepared(torch.cat([batch[0] for batch in batches]))
    prepared.eval()
    twin = twin_of(prepared, batches)
    expect_plain(twin, batches)
    assert not [part for part in twin.modules() if "Fake" in type(part).__name__]
    assert 6 < sqnr_db(twin, prepared, batches) < 999.0  # fake quantization rounds, and the twin does not


def test_many_layers_are_not_taken_for_one_another() -> None:
    quantization = torch.ao.quantization
    widths = [*range(3, 40), 3]
    model = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths))).train()
    fused = quantization.fuse_modules_qat(model, [[f"{number}.0", f"{number}.1"] for number in range(len(model))])
    fused.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    prepared = quantization.prepare_qat(fused)
    prepared(torch.randn(8, 3))
    twin = twin_of(prepared.eval(), [(torch.randn(1, 3),)])
    assert [part.in_features for part in twin.modules() if isinstance(part, nn.Linear)] == widths[:-1]


def test_a_converted_model_becomes_float_layers_with_its_weights(convolutional, batches) -> None:
    converted = torch.ao.quantization.convert(fused_and_observed(convolutional, batches))
    twin = twin_of(converted, batches)
    expect_plain(twin, batches)
    assert type(twin.conv[0]) is nn.Conv2d
    assert type(twin.wide[1]) is nn.ReLU
    assert torch.equal(twin.conv[0].weight, converted.conv.weight().dequantize())
    assert torch.equal(twin.narrow.bias, converted.narrow.bias())
    assert sqnr_db(twin, converted, batches) > 10
    # The noise of int8 activations is gone; that of int8 weights stays.
    assert sqnr_db(twin, convolutional, batches) > sqnr_db(converted, convolutional, batches) + 3


def _dynamic(_batches):
    module = Recurrent().eval()
    kinds = {nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell, nn.Linear}
    return module, torch.ao.quantization.quantize_dynamic(copy.deepcopy(module), kinds)


def _static_lstm(batches):
    module = StubbedLstm().eval()
    return module, torch.ao.quantization.convert(observed(copy.deepcopy(module), batches))


def _observed_lstm(batches):
    module = StubbedLstm().eval()
    return module, observed(copy.deepcopy(module), batches)


def _embeddings(_batches):
    module = Tables().eval()
    prepared = copy.deepcopy(module)
    for layer in (prepared.table, prepared.bag):
        layer.qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig
    return module, torch.ao.quantization.convert(torch.ao.quantization.prepare(prepared))


def _graph_mode(batches):
    from torch.ao.quantization import quantize_fx

    module = Functional().eval()
    mapping = torch.ao.quantization.get_default_qconfig_mapping("fbgemm")
    prepared = quantize_fx.prepare_fx(copy.deepcopy(module), mapping, batches[0])
    for batch in batches:
        prepared(*batch)
    return module, quantize_fx.convert_fx(prepared)


@pytest.mark.parametrize("make", [_dynamic, _static_lstm, _observed_lstm, _embeddings, _graph_mode])
def test_other_ways_to_quantize(make: Callable, batches) -> None:
    original, quantized = make(batches)
    twin = twin_of(quantized, batches)
    expect_plain(twin, batches)
    assert sqnr_db(twin, quantized, batches) > 10
    assert sqnr_db(twin, original, batches) > 35  # int8 weights, float arithmetic


def test_a_layer_that_is_used_twice_stays_one(batches) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(768, 768)
            self.again = self.first

        def forward(self, image):
            return self.again(torch.relu(self.first(image.flatten(1))))

    quantized = torch.ao.quantization.quantize_dynamic(Twice().eval(), {nn.Linear})
    quantized.again = quantized.first
    twin = twin_of(quantized, batches)
    assert twin.again is twin.first
    assert type(twin.first) is nn.Linear


def test_a_layer_without_a_float_form_is_named(batches) -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.ModuleDict({"joined": torch.ao.nn.intrinsic.quantized.ConvAdd2d(3, 3, 1)})

        def forward(self, image):
            return image

    with pytest.raises(ModelError) as refused:
        twin_of(Fused(), batches)
    assert "ConvAdd2d" in refused.value.what
    assert refused.value.where.endswith("block.joined")
    assert refused.value.next_step


def test_a_quantized_function_without_a_float_form_is_named(batches) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quant = torch.ao.nn.quantized.Quantize(0.05, 64, torch.quint8)

        def forward(self, image):
            return torch.ops.quantized.celu(self.quant(image), 0.05, 64).dequantize()

    with pytest.raises(ModelError, match=r"quantized\.celu"):
        twin_of(Odd(), batches)


def test_a_model_that_was_not_calibrated_is_refused(convolutional, batches) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = torch.ao.quantization.convert(fused_and_observed(convolutional, []))
    with pytest.raises(ModelError) as refused:
        twin_of(converted, batches)
    assert "dB" in refused.value.seen
    assert "calibrat" in refused.value.next_step
