"""What tflite-runtime 2.14.0 really does: the claims of tflite_compatibility.py, and files made for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from standins.build_cache import cache_dir, locked

from edgedeploy.errors import ExportError, MissingToolError
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.runners.old_tflite import old_tflite_runner
from edgedeploy.source import LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")

from integration.tflite_models import (  # noqa: E402
    MaskedAttention,
    OldRuntimeError,
    answers,
    attention,
    convolutions,
    export,
    loaded,
    loaded_versions,
    run_here,
    run_old,
    sqnr_db,
)

from edgedeploy.exporters.tflite_compatibility import (  # noqa: E402
    OLD_ENGINE,
    incompatibilities,
)
from edgedeploy.exporters.tflite_graph import Graph, OperatorUse, TensorUse, read_graphs  # noqa: E402

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]
nn = torch.nn
_VERSION = "2.14.0"
_OLD = {OLD_ENGINE: _VERSION}


@pytest.fixture(scope="module")
def old_python() -> str:
    """A Python with tflite-runtime 2.14.0, installed once."""
    try:
        with locked("tflite-runtime"):
            bundle = old_tflite_runner(_VERSION, cache_dir=cache_dir(), emit=lambda _text: None)
    except MissingToolError as error:
        pytest.skip(str(error))
    return bundle.start[0]


def test_a_version_is_refused_exactly_if_the_runtime_refuses_it(old_python: str) -> None:
    """Every operator in every version that the newest engine loads."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.tools import flatbuffer_utils

    files = {}
    for name, code in vars(schema.BuiltinOperator).items():
        if not isinstance(code, int) or name in {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}:
            continue
        for version in range(1, 16):
            model, graph, tensor, operator = schema.ModelT(), schema.SubGraphT(), schema.TensorT(), schema.OperatorCodeT()
            operator.builtinCode, operator.deprecatedBuiltinCode, operator.version = code, min(code, 127), version
            tensor.shape, tensor.buffer, tensor.name = [1], 0, b"x"
            graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
            model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [operator], [graph], [schema.BufferT()]
            content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
            try:
                Interpreter(model_content=content)
            except ValueError:  # not even the newest has it
                continue
            files[name, version] = content
    assert len(files) > 300
    old = loaded_versions(old_python, files)
    known = {(name, version) for name, version in files if not incompatibilities(_asking(name, version))}
    assert known == old


def _asking(operator: str, version: int) -> tuple[Graph, ...]:
    tensor = TensorUse(index=0, name="x", type="FLOAT32", shape=(1,))
    use = OperatorUse(operator=operator, version=version, inputs=(tensor,), outputs=(tensor,))
    return (Graph(signatures=(), inputs=(0,), outputs=(0,), operators=(use,)),)


def _scaled(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        rows = layer.weight.shape[0]
        layer.weight *= torch.logspace(-1, 1, rows).reshape(-1, *[1] * (layer.weight.dim() - 1))
    return layer


class _Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = _scaled(nn.Embedding(50, 64))

    def forward(self, ids):
        return self.table(ids) * 2


class _Function(nn.Module):
    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


_IMAGE = (1, 8, 12, 12)
_CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[torch.Tensor, ...]]]] = {
    "linear": (lambda: _scaled(nn.Linear(64, 32)), lambda: (torch.randn(1, 64),)),
    "linear, three dimensions": (lambda: _scaled(nn.Linear(64, 32)), lambda: (torch.randn(1, 5, 64),)),
    "convolution": (lambda: _scaled(nn.Conv2d(8, 16, 3)), lambda: (torch.randn(_IMAGE),)),
    "groups": (lambda: nn.Conv2d(8, 16, 3, groups=2), lambda: (torch.randn(_IMAGE),)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), lambda: (torch.randn(_IMAGE),)),
    "transposed": (lambda: nn.ConvTranspose2d(8, 16, 3, stride=2), lambda: (torch.randn(_IMAGE),)),
    "embedding": (_Embedding, lambda: (torch.randint(0, 50, (1, 7)),)),
    "reciprocal root": (lambda: _Function(torch.rsqrt), lambda: (torch.rand(1, 8) + 0.5,)),
    "quotient": (lambda: _Function(torch.div), lambda: (torch.randn(1, 8), torch.rand(1, 8) + 0.5)),
    "product": (lambda: _Function(lambda a, b: a @ b.transpose(1, 2)), lambda: (torch.randn(1, 6, 16), torch.randn(1, 6, 16))),
}
_RIGHT_DB = 15.0


@pytest.mark.parametrize("case", _CASES)
def test_every_rule_says_what_the_runtime_does(case: str, old_python: str, tmp_path: Path) -> None:
    """Files made without regard to it: right where no rule complains, wrong or refused where one does."""
    make, inputs = _CASES[case]
    torch.manual_seed(0)
    model = loaded(make(), [inputs() for _ in range(3)])
    seen = {}
    for precision in ("fp32", "fp16", "int8-static", "int8-dynamic", "int8-weights", "int4-weights", "8da4w", "16x8"):
        try:
            exported = export(model, precision, tmp_path / precision)
        except ExportError as error:
            assert "nothing in this model can be" in error.what
            continue
        file = tmp_path / precision / exported.entry
        found = incompatibilities(read_graphs(file.read_bytes()))
        try:
            right = sqnr_db(run_old(old_python, file, model.main), answers(model.main)) > _RIGHT_DB
        except OldRuntimeError:
            right = False
        seen[precision] = (right, [one.reason for one in found])
    assert seen["fp32"] == (True, [])
    assert {precision: right for precision, (right, _) in seen.items()} == {
        precision: not reasons for precision, (_, reasons) in seen.items()
    }, seen


_MADE = {
    "convolutions": (convolutions, ("fp32", "fp16", "int8", "int8-static", "int8-dynamic", "int8-weights", "16x8")),
    "attention": (attention, ("fp32", "fp16", "int8", "int8-static", "int8-dynamic", "int8-weights")),
    "attention without biases": (lambda: attention(bias=False), ("int8-dynamic", "16x8")),
}


@pytest.mark.parametrize("name", _MADE)
def test_files_made_for_it_are_right_in_both_runtimes(name: str, old_python: str, tmp_path: Path) -> None:
    make, precisions = _MADE[name]
    model: LoadedModel = make()
    reference = answers(model.main)
    for precision in precisions:
        file = tmp_path / precision / export(model, precision, tmp_path / precision, _OLD).entry
        floor = {"fp32": 100.0, "fp16": 50.0}.get(precision, 25.0)
        assert sqnr_db(run_here(file, model.main), reference) > floor, precision
        assert sqnr_db(run_old(old_python, file, model.main), reference) > floor, precision


def test_what_it_would_compute_wrongly_is_known_from_the_file(old_python: str, tmp_path: Path) -> None:
    """The silent wrong answer: per-channel int8 weights with float activations."""
    model = loaded(_scaled(nn.Linear(64, 32)), [(torch.randn(1, 64),)])
    exported = export(model, "int8-dynamic", tmp_path)
    file = tmp_path / exported.entry
    reference = answers(model.main)
    assert sqnr_db(run_here(file, model.main), reference) > 30
    assert sqnr_db(run_old(old_python, file, model.main), reference) < 3
    (found,) = incompatibilities(read_graphs(file.read_bytes()))
    assert (found.operator.operator, found.silent) == ("FULLY_CONNECTED", True)


def test_rows_scaled_are_as_fine_as_a_scale_per_row(old_python: str, tmp_path: Path) -> None:
    model = loaded(_scaled(nn.Linear(64, 32)), [(torch.randn(1, 64),)])
    folder = tmp_path / "old"
    exported = export(model, "int8-dynamic", folder, _OLD)
    per_row = sqnr_db(run_here(tmp_path / export(model, "int8-dynamic", tmp_path).entry, model.main), answers(model.main))
    assert sqnr_db(run_old(old_python, folder / exported.entry, model.main), answers(model.main)) > per_row - 3


def test_layers_with_equal_biases_keep_their_own(old_python: str, tmp_path: Path) -> None:
    """The converter stores one bias for both, and each layer divides it by its own scales."""
    torch.manual_seed(0)
    layers = nn.Sequential(_scaled(nn.Linear(16, 16)), nn.ReLU(), _scaled(nn.Linear(16, 16)))
    layers[2].bias.data = layers[0].bias.data.clone()
    model = loaded(layers, [(torch.randn(1, 16),)])
    file = tmp_path / export(model, "int8-dynamic", tmp_path, _OLD).entry
    assert sqnr_db(run_old(old_python, file, model.main), answers(model.main)) > 25


def test_sizes_that_move_are_right_in_both_runtimes(old_python: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    batches = [(torch.randint(0, 96, (1, size)), torch.arange(size)[None] < size - 1) for size in (12, 2, 20)]
    length = {1: torch.export.Dim("length", min=2, max=20)}
    model = loaded(MaskedAttention(bias=True), batches, dynamic_shapes=(length, length))
    for precision, floor in (("fp32", 100.0), ("int8-dynamic", 25.0)):
        file = tmp_path / precision / export(model, precision, tmp_path / precision, _OLD).entry
        for run in (run_here, lambda *of: run_old(old_python, *of)):
            for found, right in zip(run(file, model.main), answers(model.main), strict=True):
                assert sqnr_db([found], [right]) > floor, precision
