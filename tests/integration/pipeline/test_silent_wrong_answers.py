"""Exports that load, run and compute something else: each is caught by the default settings, on the real runtimes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from integration.pipeline.command import Run

from edgedeploy.cache import Cache
from edgedeploy.deploy.digest import content_sha256, entries_of
from edgedeploy.domain.artifact import ARTIFACT_FILE
from edgedeploy.domain.target import Target
from edgedeploy.errors import VerifyError
from edgedeploy.pipeline import Pipeline
from edgedeploy.stages.export import Prepared, read_artifact
from edgedeploy.stages.host_run import Workplace
from edgedeploy.stages.plan import Selection, plan
from edgedeploy.stages.verify import require, verify
from edgedeploy.worker.client import Workers

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(900)]

SOURCES = '''\
import torch
from torch import nn
from edgedeploy import ModelSource


class Norm(nn.Module):
    """A layer norm: PyTorch's function, or the operator itself, which no exporter gets to see in time."""

    def __init__(self, width, operator):
        super().__init__()
        self.width, self.operator = width, operator
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x):
        if self.operator:
            return torch.ops.aten.layer_norm.default(x, [self.width], self.weight, self.bias, 1e-5)
        return nn.functional.layer_norm(x, [self.width], self.weight, self.bias, 1e-5)


class Normed(nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.up, self.norm, self.down = nn.Linear(64, 256), Norm(256, operator), nn.Linear(256, 8)

    def forward(self, x):
        return self.down(self.norm(torch.tanh(self.up(x))))


def source(module, inputs):
    return ModelSource(module=module, example_inputs=inputs[0], golden_inputs=inputs[:4], calibration=inputs)


def by_function():
    return source(Normed(False), [(torch.randn(1, 16, 64),) for _ in range(4)])


def by_operator():
    return source(Normed(True), [(torch.randn(1, 16, 64),) for _ in range(4)])


def linears():
    """Channels of very different size, as in trained models."""
    module = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))
    with torch.no_grad():
        for layer in (module[0], module[2]):
            layer.weight *= torch.logspace(-2, 1, layer.out_features)[:, None]
    return source(module, [(torch.randn(1, 32),) for _ in range(8)])


class Narrow(nn.Module):
    """Computes in bfloat16: PyTorch's own answers have eight bits."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)).bfloat16()

    def forward(self, x):
        return self.layers(x.bfloat16()).float()


def narrow():
    return source(Narrow(), [(torch.randn(1, 32),)])


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=128, max_position_embeddings=64, use_cache=False,
        )
        self.model = LlamaForCausalLM(config)
        with torch.no_grad():  # a channel far larger than the rest, as trained Llamas have them
            for layer in self.model.model.layers:
                layer.mlp.down_proj.weight[3] *= 1000

    def forward(self, ids):
        return self.model(input_ids=ids).logits


def llama():
    return source(Llama(), [(torch.randint(0, 300, (1, 16)),) for _ in range(8)])
'''


def make(folder: Path, model: str, recipe: str, exporter: str, target: str = "this-machine") -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(SOURCES)
    (folder / "edgedeploy.toml").write_text(f"""\
name = "silent"
[models.{model}]
source = "model.py:{model}"
[[deploy]]
model = "{model}"
targets = ["{target}"]
recipes = ["{recipe}"]
exporters = ["{exporter}"]
""")
    return folder


def exported(run: Run, folder: Path, exit_code: int, target: str = "this-machine") -> dict[str, Any]:
    done = run("export", "--target", target, "--json", cwd=folder)
    assert done.exit_code == exit_code, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["runs"]
    return dict(result)


def test_layer_norm_in_half_precision_is_kept_right_by_the_exporter(run: Run, tmp_path: Path) -> None:
    result = exported(run, make(tmp_path / "p", "by_function", "fp16", "executorch-xnnpack"), 0)
    assert result["verify"]["host"]["sqnr_db"] > 45
    assert result["verify"]["layers"] == []


def test_layer_norm_in_half_precision_is_refused_where_the_exporter_cannot_help(run: Run, tmp_path: Path) -> None:
    result = exported(run, make(tmp_path / "p", "by_operator", "fp16", "executorch-xnnpack"), 4)
    error = result["error"]
    assert error["kind"] == "VerifyError"
    assert "the error begins in norm (Norm, model.py:" in error["seen"]
    assert "torch.ops.aten.layer_norm.default(x, [self.width]" in error["seen"]
    assert 'recipes = ["fp32"]' in error["next_step"]
    levels = {one["layer"]["module"]: one["sqnr_db"] for one in result["verify"]["layers"]}
    assert levels["up"] > 45
    assert levels["norm"] < 10
    # What was found is in the document although the run failed, and the second time costs no export.
    assert result["artifact"]["size_bytes"] > 0
    assert result["verify"]["host"]["sqnr_db"] < 10


def test_static_int8_of_a_llama_is_refused_with_the_layer_and_a_safer_precision(run: Run, tmp_path: Path) -> None:
    result = exported(run, make(tmp_path / "p", "llama", "int8-static", "executorch-xnnpack"), 4)
    error = result["error"]
    assert error["kind"] == "VerifyError"
    assert "is below 15 dB" in error["what"]
    assert "model.model" in error["seen"]
    assert 'recipes = ["int8"]' in error["next_step"]
    mended = exported(run, make(tmp_path / "q", "llama", "int8", "executorch-xnnpack"), 0)
    assert mended["verify"]["host"]["sqnr_db"] > 15


def test_weights_in_bfloat16_are_no_wrong_conversion(run: Run, tmp_path: Path) -> None:
    error = exported(run, make(tmp_path / "p", "narrow", "fp32", "executorch-xnnpack"), 4)["error"]
    assert error["kind"] == "VerifyError"
    assert "bfloat16" in error["next_step"]
    assert "module.float()" in error["next_step"]


def test_dynamic_int8_per_channel_is_refused_for_a_board_with_tflite_runtime_2_14(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    project = Pipeline.load(make(tmp_path / "p", "linears", "fp32", "tflite"))
    (made,) = project.export("this-machine").runs
    assert made.artifact is not None, made.error
    folder = Path(shutil.copytree(made.artifact.folder, tmp_path / "quantized"))
    quantize_per_channel(folder)
    target = project.lab.target("this-machine")
    (run,) = plan(project.project, project.project_file, target, Selection())
    recipe = msgspec.structs.replace(run.recipe, precision="int8-dynamic")
    run = msgspec.structs.replace(run, recipe=recipe, lane=msgspec.structs.replace(run.lane, precision="int8-dynamic"))
    prepared = Prepared(run=run, artifact=read_artifact(folder), folder=str(folder), cached=False)

    def verified(target: Target) -> None:
        workplace = Workplace(
            target=target,
            project_file=project.project_file,
            cache=Cache(tmp_path / "cache"),
            workers=Workers(),
            sink=lambda _event: None,
        )
        found = verify(prepared, workplace)
        assert not found.note
        require(found, prepared, target)

    verified(target)
    with pytest.raises(VerifyError, match=r"tflite-runtime 2\.14\.0: SQNR .* is below 15 dB") as caught:
        verified(msgspec.structs.replace(target, runtime_versions={"tflite-runtime": "2.14.0"}))
    assert "ai-edge-litert" not in caught.value.what
    assert "litert 2.3.0" not in caught.value.what


def quantize_per_channel(folder: Path) -> None:
    """Make the artifact's file what AI Edge Quantizer's own dynamic recipe makes of it."""
    from ai_edge_quantizer import quantizer, recipe

    artifact = read_artifact(folder)
    file = folder / artifact.entry
    quantizing = quantizer.Quantizer(str(file))
    quantizing.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    file.write_bytes(bytes(quantizing.quantize().quantized_model))
    entries = entries_of(file)
    changed = msgspec.structs.replace(
        artifact, files=entries, sha256=content_sha256(entries, artifact.entry), size_bytes=entries[0].size_bytes
    )
    (folder / ARTIFACT_FILE).write_bytes(msgspec.json.encode(changed))
