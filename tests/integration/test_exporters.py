"""Real conversions with the real SDKs, and what their runtimes make of the files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from edgedeploy.compressors.magnitude import MagnitudePruner
from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.domain.target import Lane
from edgedeploy.errors import ExportError
from edgedeploy.exporters.coreml import CoremlExporter
from edgedeploy.exporters.executorch import ExecutorchExporter
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.exporters.signature import flatten_outputs
from edgedeploy.exporters.tflite import TfliteExporter
from edgedeploy.ports import Exported, Exporter, ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
nn = torch.nn

from integration.data_sized import Chosen  # noqa: E402

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]

_SDK_OF = {"executorch": "executorch", "tflite": "litert_torch", "coreml": "coremltools"}
_EXPORTERS: dict[str, Callable[[], Exporter]] = {
    "executorch": ExecutorchExporter,
    "tflite": TfliteExporter,
    "coreml": CoremlExporter,
}


class TinyCnn(nn.Module):
    """Convolutions with BatchNorm, a residual sum, a mean, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.stem_norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.depthwise_norm = nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 10)

    def forward(self, image):
        x = torch.relu(self.stem_norm(self.stem(image)))
        x = x + torch.relu(self.depthwise_norm(self.depthwise(x)))
        return self.classifier(x.mean((2, 3)))


class TinyTransformer(nn.Module):
    """int64 tokens, two embeddings, an integer ``x + 0``, LayerNorm, attention, a dict of two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 32)
        self.positions = nn.Embedding(16, 32)
        self.norm = nn.LayerNorm(32)
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.widen, self.narrow = nn.Linear(32, 64), nn.Linear(64, 32)
        self.last_norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 5)

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1])[None] + 0
        x = self.norm(self.words(tokens) + self.positions(positions))
        x = x + nn.functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        x = self.last_norm(x + self.narrow(nn.functional.gelu(self.widen(x))))
        return {"logits": self.head(x[:, 0]), "hidden": x}


def _loaded(module, batches: Sequence[tuple[object, ...]], user_root: Path = Path(__file__).parent) -> LoadedModel:
    inputs = cast("tuple[tuple[torch.Tensor, ...], ...]", tuple(batches))
    return LoadedModel(
        name="tiny",
        methods=(
            LoadedMethod(
                name="forward",
                module=module.eval(),
                example_inputs=inputs[0],
                golden_inputs=inputs[:3],
                calibration=inputs,
            ),
        ),
        user_root=str(user_root),
    )


@pytest.fixture(scope="module")
def cnn() -> LoadedModel:
    torch.manual_seed(0)
    module = TinyCnn().train()
    module(torch.randn(32, 3, 32, 32))  # gives BatchNorm statistics that are not the identity
    return _loaded(module, [(torch.randn(1, 3, 32, 32),) for _ in range(8)])


@pytest.fixture(scope="module")
def transformer() -> LoadedModel:
    torch.manual_seed(0)
    return _loaded(TinyTransformer(), [(torch.randint(0, 100, (1, 16)),) for _ in range(8)])


def _export(exporter: str, precision: str, model: LoadedModel, folder: Path) -> Exported:
    pytest.importorskip(_SDK_OF[exporter])
    made = _EXPORTERS[exporter]()
    lane: Lane = next(lane for lane in made.lanes() if lane.precision == precision)
    said: list[str] = []
    exported = made.export(model, ExportRequest(lane=lane, os="ios", min_os="17", folder=str(folder)), said.append)
    assert said, "an exporter tells what it is doing"
    assert (folder / exported.entry).exists()
    return exported


def _run_pte(path: Path, exported: Exported, batches: Sequence[tuple[torch.Tensor, ...]]) -> list[list[np.ndarray]]:
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    return [[output.numpy().copy() for output in method.execute(list(batch))] for batch in batches]


def _run_tflite(path: Path, exported: Exported, batches: Sequence[tuple[torch.Tensor, ...]]) -> list[list[np.ndarray]]:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=1).get_signature_runner()
    results = []
    for batch in batches:
        named = {s.name: t.numpy().astype(s.dtype) for s, t in zip(exported.methods[0].inputs, batch, strict=True)}
        outputs = runner(**named)
        results.append([outputs[spec.name].copy() for spec in exported.methods[0].outputs])
    return results


_RUN = {"executorch": _run_pte, "tflite": _run_tflite}


def _compare(exporter: str, precision: str, model: LoadedModel, folder: Path) -> Exported:
    exported = _export(exporter, precision, model, folder)
    results = _RUN[exporter](folder / exported.entry, exported, model.main.golden_inputs)
    with torch.no_grad():
        references = [[t.numpy() for t in flatten_outputs(model.main.module(*batch))] for batch in model.main.golden_inputs]
    for index, spec in enumerate(exported.methods[0].outputs):
        reference = np.stack([case[index] for case in references]).astype(np.float64)
        result = np.stack([case[index] for case in results]).astype(np.float64)
        assert spec.shape == references[0][index].shape
        assert results[0][index].dtype == np.dtype(spec.dtype)
        if precision == "fp32":
            assert np.abs(reference - result).max() < 1e-4
        else:
            noise = ((reference - result) ** 2).sum()
            assert noise > 0, "int8 that is exact was not int8"
            assert 10 * np.log10((reference**2).sum() / noise) > 15
    return exported


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_cnn_in_executorch_computes_what_pytorch_does(cnn: LoadedModel, precision: str, tmp_path: Path) -> None:
    exported = _compare("executorch", precision, cnn, tmp_path)
    assert exported.methods[0].inputs == (TensorSpec(name="image", dtype="float32", shape=(1, 3, 32, 32)),)
    assert exported.inspection["backends"] == "XnnpackBackend"
    assert sum(operator.delegate == "XnnpackBackend" for operator in exported.operators) > 5


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_transformer_in_executorch_computes_what_pytorch_does(transformer: LoadedModel, precision: str, tmp_path: Path) -> None:
    exported = _compare("executorch", precision, transformer, tmp_path)
    assert exported.methods[0].inputs == (TensorSpec(name="tokens", dtype="int64", shape=(1, 16)),)
    assert [spec.name for spec in exported.methods[0].outputs] == ["logits", "hidden"]
    assert "native_layer_norm" in exported.inspection["undelegated"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_cnn_in_tflite_computes_what_pytorch_does(cnn: LoadedModel, precision: str, tmp_path: Path) -> None:
    exported = _compare("tflite", precision, cnn, tmp_path)
    assert exported.methods[0].inputs == (TensorSpec(name="image", dtype="float32", shape=(1, 3, 32, 32)),)
    assert (exported.inspection["quantized tensors"] == "0") == (precision == "fp32")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_transformer_in_tflite_computes_what_pytorch_does(transformer: LoadedModel, precision: str, tmp_path: Path) -> None:
    exported = _compare("tflite", precision, transformer, tmp_path)
    assert exported.methods[0].inputs == (TensorSpec(name="tokens", dtype="int32", shape=(1, 16)),)
    assert [spec.name for spec in exported.methods[0].outputs] == ["logits", "hidden"]
    assert "FULLY_CONNECTED" in exported.inspection["operator kinds"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_core_ml_package_says_what_it_should(transformer: LoadedModel, precision: str, tmp_path: Path) -> None:
    exported = _export("coreml", precision, transformer, tmp_path)
    assert exported.entry == "model.mlpackage"
    assert exported.methods[0].inputs == (TensorSpec(name="tokens", dtype="int32", shape=(1, 16)),)
    assert exported.methods[0].outputs == (
        TensorSpec(name="logits", dtype="float32", shape=(1, 5)),
        TensorSpec(name="hidden", dtype="float32", shape=(1, 16, 32)),
    )
    assert exported.inspection["specification version"] == "8", "iOS 17"
    assert exported.inspection["numeric_check"] == "not possible on Linux"
    assert "layer_norm" in exported.inspection["operator kinds"]
    assert ("int8 linear" in exported.inspection["weights"]) == (precision == "int8")


def test_core_ml_int8_weights_are_a_quarter(cnn: LoadedModel, tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide = _loaded(nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256)), [(torch.randn(1, 256),)])
    size = {}
    for precision in ("fp32", "int8"):
        folder = tmp_path / precision
        folder.mkdir()
        size[precision] = int(_export("coreml", precision, wide, folder).inspection["weight bytes"])
    assert size["int8"] < 0.3 * size["fp32"]


@pytest.mark.parametrize("exporter", ["executorch", "tflite", "coreml"])
def test_two_exports_give_the_same_bytes(exporter: str, cnn: LoadedModel, tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        _export(exporter, "int8", cnn, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        contents.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_a_reproducible_package_still_loads(cnn: LoadedModel, tmp_path: Path) -> None:
    exported = _export("coreml", "fp32", cnn, tmp_path)
    import coremltools as ct

    package = ct.models.MLModel(str(tmp_path / exported.entry), skip_model_load=True)
    assert package.get_spec().WhichOneof("Type") == "mlProgram"


_FAILING = """
import torch
from torch import nn


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        y = self.layer(x)
        z = {expression}
        return z + 1
"""


def _failing(expression: str, folder: Path) -> LoadedModel:
    """A model of the user's, in a file of its own."""
    file = folder / "model.py"
    file.write_text(_FAILING.replace("{expression}", expression))
    specification = importlib.util.spec_from_file_location(f"failing_{abs(hash(str(file)))}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return _loaded(module.Failing(), [(torch.randn(8, 8),)], user_root=folder)


@pytest.mark.parametrize(
    ("exporter", "expression", "operator"),
    [
        ("executorch", "torch.special.bessel_j0(y)", "special_bessel_j0"),
        ("executorch", "torch.linalg.svd(y)[1]", "linalg_svd"),
        ("executorch", "torch.fft.rfft(y).abs()", "aten."),
        ("tflite", "torch.special.bessel_j0(y)", "special_bessel_j0"),
        ("tflite", "torch.linalg.svd(y)[1]", "linalg_svd"),
        ("coreml", "torch.special.bessel_j0(y)", "special_bessel_j0"),
        ("coreml", "torch.linalg.svd(y)[1]", "linalg_svd"),
    ],
)
def test_an_unknown_operator_is_named_with_its_line(exporter: str, expression: str, operator: str, tmp_path: Path) -> None:
    model = _failing(expression, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError) as caught:
        _export(exporter, "fp32", model, out)
    assert "cannot export operator" in caught.value.what
    assert operator in caught.value.what
    assert caught.value.where == f"model.py:13: `z = {expression}`"
    assert 0 < len(caught.value.seen) <= 300
    assert caught.value.next_step
    assert exporter == "coreml" or caught.value.__cause__ is not None, "coremltools is not asked what it does not know"


@pytest.mark.parametrize("exporter", ["executorch", "tflite", "coreml"])
def test_a_branch_on_data_is_named_with_its_line(exporter: str, tmp_path: Path) -> None:
    expression = "y if y.sum() > 0 else -y"
    model = _failing(expression, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ExportError) as caught:
        _export(exporter, "int8", model, out)
    assert "depends on the data" in caught.value.what
    assert caught.value.where == f"model.py:13: `z = {expression}`"
    assert "torch.where" in caught.value.next_step


def test_leaving_pytorch_is_named_with_its_line(tmp_path: Path) -> None:
    expression = "torch.from_numpy(y.detach().numpy())"
    model = _failing(expression, tmp_path)
    with pytest.raises(ExportError) as caught:
        _export("executorch", "fp32", model, tmp_path)
    assert caught.value.where == f"model.py:13: `z = {expression}`"


def test_magnitude_zeroes_the_share_and_leaves_the_model_alone(cnn: LoadedModel) -> None:
    weights = [name for name, module in cnn.main.module.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]

    def zeros(module) -> float:
        values = torch.cat([module.get_submodule(name).weight.flatten() for name in weights])
        return float((values == 0).float().mean())

    pruned = MagnitudePruner().compress(cnn, {"sparsity": 0.75}, lambda _text: None)
    assert zeros(cnn.main.module) == 0
    assert zeros(pruned.main.module) == pytest.approx(0.75, abs=0.01)
    assert set(pruned.main.module.state_dict()) == set(cnn.main.module.state_dict()), "no masks are left behind"
    assert pruned.main.calibration is cnn.main.calibration


class SqueezeAndExcite(nn.Module):
    """MobileNetV3's block: when its layers are looked at, int8 values leave XNNPACK in the middle of it."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.filter = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=24)
        self.swish, self.squeeze, self.excite = nn.Hardswish(), nn.Conv2d(24, 8, 1), nn.Conv2d(8, 24, 1)
        self.narrow = nn.Conv2d(24, 4, 1)

    def forward(self, image):
        x = self.swish(self.filter(self.swish(self.widen(image))))
        gate = self.excite(torch.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(x, 1))))
        return self.narrow(x * nn.functional.hardsigmoid(gate))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_layers_of_a_convolutional_network_can_be_looked_at(precision: str, tmp_path: Path) -> None:
    from edgedeploy.exporters.layers import with_layers

    torch.manual_seed(0)
    model, layers = with_layers(_loaded(SqueezeAndExcite(), [(torch.randn(1, 3, 8, 8),) for _ in range(4)]), "PyTorch")
    exported = _compare("executorch", precision, model, tmp_path)
    # Not "squeeze": XNNPACK computes it together with the ReLU behind it.
    assert [layer.layer.module for layer in layers] == ["widen", "swish", "filter", "excite", "narrow"]
    assert len(exported.methods[0].outputs) == len(layers)


class Narrow(nn.Module):
    """Weights of another width than float32, between inputs and outputs of that."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8).to(getattr(torch, dtype))

    def forward(self, x):
        return torch.relu(self.linear(x.to(self.linear.weight.dtype))).float()


@pytest.mark.parametrize(
    ("exporter", "dtype"), [("tflite", "bfloat16"), ("tflite", "float16"), ("tflite", "float64"), ("coreml", "bfloat16")]
)
def test_weights_of_another_width_are_named(exporter: str, dtype: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        _export(exporter, "fp32", _loaded(Narrow(dtype), [(torch.randn(2, 8),)]), tmp_path)
    assert caught.value.what.endswith(f"cannot export weights in {dtype}")
    assert caught.value.where == "linear.weight"
    assert "module.float()" in caught.value.next_step


def test_a_dimension_without_a_bound_is_refused(tmp_path: Path) -> None:
    """ExecuTorch would plan memory for the example, and take nothing larger on the device."""
    model = _loaded(nn.Linear(8, 8), [(torch.randn(2, 8),)])
    moving = replace(model, methods=(replace(model.main, dynamic_shapes=({0: torch.export.Dim.AUTO},)),))
    with pytest.raises(ExportError, match="upper bound") as caught:
        _export("executorch", "fp32", moving, tmp_path)
    assert caught.value.where == "dimension 0 of input"


class Stepwise(nn.Module):
    """A first state of zeros, and a turn that begins as none: forward makes them itself, without a dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 16)

    def forward(self, steps):
        state = torch.zeros(steps.shape[0], 16)
        for step in range(steps.shape[1]):
            state = self.cell(steps[:, step], state)
        return state @ torch.eye(16)


def test_what_forward_makes_itself_is_half_too(tmp_path: Path) -> None:
    model = _loaded(Stepwise(), [(torch.randn(2, 3, 8),) for _ in range(2)])
    _compare("executorch", "fp16", model, tmp_path)


class Words(nn.Module):
    """An embedding, PyTorch's own attention, a linear layer: what sizes move through."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 32)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.out = nn.Linear(32, 32)

    def forward(self, tokens):
        x = self.words(tokens)
        return self.out(x + self.attention(x, x, x, need_weights=False)[0])


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "int8-weights", "8da4w"])
def test_a_length_that_moves_is_right_at_its_bounds(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _loaded(Words(), [(torch.randint(0, 50, (1, length)),) for length in (6, 2, 16)])
    moving = ({1: torch.export.Dim("length", min=2, max=16)},)
    exported = _export("executorch", precision, replace(model, methods=(replace(model.main, dynamic_shapes=moving),)), tmp_path)
    for case in model.main.golden_inputs:
        ((result,),) = _run_pte(tmp_path / exported.entry, exported, [case])
        with torch.no_grad():
            reference = model.main.module(*case).numpy()
        assert result.shape == reference.shape
        assert 10 * np.log10((reference**2).sum() / ((reference - result) ** 2).sum()) > 10


class Remembering(nn.Module):
    """A state that forward changes for good."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("total", torch.zeros(1, 8))

    def forward(self, x):
        self.total.add_(self.linear(x))
        return self.total * 1


@pytest.mark.parametrize("precision", ["int8", "int8-weights"])
def test_a_state_begins_as_it_was_before_calibration(precision: str, tmp_path: Path) -> None:
    _compare("executorch", precision, _loaded(Remembering(), [(torch.randn(1, 8),) for _ in range(4)]), tmp_path)


def test_calibration_leaves_the_state_to_the_next_lane(tmp_path: Path) -> None:
    model = _loaded(Remembering(), [(torch.randn(1, 8),) for _ in range(4)])
    made = CoremlExporter()
    lane = next(lane for lane in made.lanes() if lane.precision == "int8-static")
    assert made.export(model, ExportRequest(lane=lane, os="ios", min_os="18", folder=str(tmp_path)), lambda _text: None).operators
    assert not model.main.module.total.any()


class NarrowIds(nn.Module):
    """Ids of 32 bits, as many pipelines have them."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 32), nn.Linear(32, 4)

    def forward(self, ids):
        return self.head(self.words(ids))


def test_ids_of_32_bits_find_their_rows_in_an_int8_table(tmp_path: Path) -> None:
    torch.manual_seed(0)
    _compare("executorch", "int8", _loaded(NarrowIds(), [(torch.randint(0, 50, (1, 6), dtype=torch.int32),)]), tmp_path)


@pytest.mark.parametrize(
    ("module", "inputs", "precision"),
    [
        (nn.Conv1d(4, 8, 3), (torch.randn(1, 4, 16),), "int8-dynamic"),
        (nn.Sequential(nn.Softmax(-1)), (torch.randn(1, 16),), "int8"),
    ],
)
def test_an_integer_precision_that_changes_nothing_is_refused(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], precision: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="would change nothing") as caught:
        _export("executorch", precision, _loaded(module, [inputs]), tmp_path)
    assert caught.value.next_step


class CrossAttention(nn.Module):
    """Two layers look at one memory: what they share is quantized once, and lies before and after what XNNPACK leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.ModuleList(nn.Linear(32, 32) for _ in range(4)) for _ in range(2))
        self.norm = nn.LayerNorm(32)

    def attend(self, layers, x, memory):
        query, key, value, out = layers
        heads = [part.view(1, -1, 4, 8).transpose(1, 2) for part in (query(x), key(memory), value(memory))]
        return out(nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(1, -1, 32))

    def forward(self, x, memory):
        x = x + self.attend(self.first, x, memory)
        return x + self.attend(self.second, self.norm(x), memory)


def test_layers_that_share_an_input_may_be_parted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    _compare("executorch", "int8", _loaded(CrossAttention(), [(torch.randn(1, 8, 32), torch.randn(1, 8, 32))]), tmp_path)


def test_a_lane_is_not_in_the_way_of_the_next(tmp_path: Path) -> None:
    """Sizes that data decide are symbols of a trace, which all lanes of a worker share."""
    model = _loaded(Chosen(), [(torch.randn(6, 8),)])
    for number, exporter in enumerate(("executorch", "executorch", "coreml", "coreml")):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert _export(exporter, ("fp32", "int8-dynamic", "fp32", "fp16")[number], model, folder).methods
    with pytest.raises(ExportError, match=r"operator aten\.nonzero"):
        _export("tflite", "fp32", model, tmp_path)


class MatrixProducts(nn.Module):
    """Layers as GPT-2 of transformers has them: ``addmm`` of a bias and a weight that is [inputs, outputs]."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Parameter(torch.randn(64, 256) / 8), nn.Parameter(torch.randn(256, 64) / 16)
        self.wide_bias, self.narrow_bias = nn.Parameter(torch.randn(256)), nn.Parameter(torch.randn(64))

    def forward(self, x):
        hidden = nn.functional.gelu(torch.addmm(self.wide_bias, x, self.widen))
        return torch.addmm(self.narrow_bias, hidden, self.narrow)


@pytest.mark.parametrize("precision", ["int8", "int8-weights"])
def test_products_with_weights_are_layers_too(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = _loaded(MatrixProducts(), [(torch.randn(4, 64),) for _ in range(4)])
    exported = _compare("executorch", precision, model, tmp_path)
    assert (tmp_path / exported.entry).stat().st_size < 2 * 64 * 256 * 2  # in float32 the weights alone have 131 kB
