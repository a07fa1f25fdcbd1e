"""TFLite: masks, kinds of inputs, and calibration that makes no sense, by the real SDK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedeploy.errors import ExportError
from edgedeploy.exporters.quiet import quiet_sdks
from edgedeploy.source import LoadedModel

quiet_sdks()
torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")

from integration.tflite_models import answers, attention, export, loaded, method, named_inputs, run_here, sqnr_db  # noqa: E402

from edgedeploy.exporters import tflite_conversion, tflite_quantizing  # noqa: E402
from edgedeploy.exporters.signature import flatten_outputs  # noqa: E402
from edgedeploy.exporters.tracing import trace  # noqa: E402

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(300)]
nn = torch.nn


@pytest.fixture(scope="module")
def decoder() -> LoadedModel:
    return attention()


def test_a_mask_survives_static_quantization(decoder: LoadedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The silent wrong answer of static int8: without the finite mask every token attends to all."""
    right = export(decoder, "int8-static", tmp_path / "right").entry
    assert sqnr_db(run_here(tmp_path / "right" / right, decoder.main), answers(decoder.main)) > 25
    monkeypatch.setattr(tflite_quantizing, "with_finite_masks", lambda content, _samples: content)
    wrong = export(decoder, "int8-static", tmp_path / "wrong").entry
    assert sqnr_db(run_here(tmp_path / "wrong" / wrong, decoder.main), answers(decoder.main)) < 15


class _Kinds(nn.Module):
    """Integers, booleans and floats in; a dict with a tuple out."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids, chosen, values):
        picked = torch.where(chosen, values, self.table(ids))
        return {"picked": picked, "more": (picked.sum(-1), chosen & (values > 0), ids + 1)}


def test_kinds_of_inputs_and_outputs_are_kept(tmp_path: Path) -> None:
    case = (torch.randint(0, 10, (2, 3)), torch.rand(2, 3, 4) > 0.5, torch.randn(2, 3, 4))
    model = loaded(_Kinds(), [case])
    (only,) = export(model, "fp32", tmp_path).methods
    assert [spec.dtype for spec in only.inputs] == ["int32", "bool", "float32"]
    assert [spec.dtype for spec in only.outputs] == ["float32", "float32", "bool", "int32"]
    from ai_edge_litert.interpreter import Interpreter

    outputs = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()(**named_inputs(model.main.module, case))
    expected = model.main.module(*case)
    flat = [expected["picked"], *expected["more"]]
    for spec, reference in zip(only.outputs, flat, strict=True):
        assert np.allclose(outputs[spec.name], reference.detach().numpy(), atol=1e-6)


class _Names(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, ids_output, mask, unused):
        hidden = self.layer(ids_output)
        return {"logits": hidden * mask, "hidden state": hidden, "ids": hidden - mask, "mask": (mask, mask + 1), "0": hidden}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_app_finds_the_user_s_names(precision: str, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = loaded(_Names(), [tuple(torch.randn(2, 8) for _ in range(3))] * 2)
    (only,) = export(model, precision, tmp_path).methods
    assert [spec.name for spec in only.inputs] == ["ids_output", "mask", "unused"]
    assert [spec.name for spec in only.outputs] == ["logits", "hidden_state", "ids", "mask", "mask_1", "_0"]
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    outputs = interpreter.get_signature_runner()(**named_inputs(model.main.module, model.main.example_inputs))
    for spec, reference in zip(only.outputs, flatten_outputs(model.main.module(*model.main.example_inputs)), strict=True):
        assert np.abs(outputs[spec.name] - reference.detach().numpy()).max() < (1e-5 if precision == "fp32" else 0.1)
    names = [detail["name"] for detail in interpreter.get_input_details()]
    assert names[1] == "serving_default_mask"


def test_calibration_that_gives_nan_is_refused(tmp_path: Path) -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(torch.sqrt(x))

    good, bad = torch.rand(1, 8), -torch.rand(1, 8)
    model = LoadedModel(
        name="root",
        methods=(method("forward", Root(), [(good,), (bad,)]),),
        user_root=str(tmp_path),
    )
    with pytest.raises(ExportError, match="NaN or infinite on calibration inputs"):
        export(model, "int8-static", tmp_path)


def test_a_trace_is_not_changed_by_a_conversion(decoder: LoadedModel) -> None:
    methods = trace(decoder, "litert-torch")
    before = str(methods[0].program.graph)
    tflite_conversion.convert(methods, ("serving_default",), spare_bool_indexing=True)
    assert str(methods[0].program.graph) == before


def test_embeddings_and_layers_are_all_in_int8(decoder: LoadedModel, tmp_path: Path) -> None:
    """Weights that the quantizer has moved behind the flatbuffer are constants all the same."""
    exported = export(decoder, "int8-static", tmp_path)
    floats, constants = tflite_quantizing.left_in_float((tmp_path / exported.entry).read_bytes())
    assert floats == 0
    assert constants > 96 * 64 + 3 * 64 * 64


class _Positions(nn.Module):
    """Whatever depends on no input: LiteRT runs no ``arange`` in the middle of a graph."""

    def forward(self, points):
        turn = points.sum(2)[:, :, None] * torch.eye(3) + torch.eye(3)
        return torch.bmm(turn, points) + torch.arange(3.0).pow(2)[:, None]


class _Messages(nn.Module):
    """Rows added up where an index says, as graph networks do."""

    def forward(self, nodes, senders, receivers):
        messages = nodes[senders] * 2
        return nodes.index_add(0, receivers, messages, alpha=0.5), torch.zeros(4, 5).index_add(1, receivers, messages.T[:4])


@pytest.mark.parametrize(
    ("module", "case"),
    [
        (_Positions(), (torch.randn(1, 3, 8),)),
        (_Messages(), (torch.randn(5, 6), torch.tensor([0, 1, 1, 3, 4]), torch.tensor([2, 2, 0, 1, 4]))),
    ],
)
def test_what_has_no_kernel_is_written_otherwise(module, case: tuple[object, ...], tmp_path: Path) -> None:
    model = loaded(module, [case])
    exported = export(model, "fp32", tmp_path)
    assert sqnr_db(run_here(tmp_path / exported.entry, model.main), answers(model.main)) > 100
