"""A language model from its folder to a token on a device: trained a little, so that its perplexity means something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from integration.pipeline.command import Run
from integration.pipeline.test_real_transports import board_keys, write_lab
from standins.board import SshBoard

from edgedeploy.config.schema import schema_of

# Exports of a language model take a minute of CPU each.
pytestmark = [pytest.mark.sdk, pytest.mark.timeout(1800)]

MAKE = Path(__file__).parents[3] / "examples" / "language-model" / "make_model.py"
SMALL = ("--hidden", "64", "--layers", "2", "--vocabulary", "512", "--steps", "120")

PROJECT = """\
name = "talk"

[models.llama]
source = "llama"
language = { context_length = 128, prompt_tokens = 48, generate_tokens = 32, perplexity_text = "held-out.txt", perplexity_tokens = 600 }

[models.qwen]
source = "qwen3"
language = { context_length = 128, prompt_tokens = 16, generate_tokens = 32, perplexity_text = "held-out.txt", perplexity_tokens = 600 }

[recipes."8da4w"]
precision = "8da4w"

[[deploy]]
model = "llama"
targets = ["this-machine", "raspberry-pi-5"]
recipes = ["fp32", "8da4w"]
measure = { processes = 2, threads = 1, cpus = [], cooldown_s = 0, start_wait_s = 0 }

[[deploy]]
model = "qwen"
targets = ["this-machine"]
measure = { processes = 1, threads = 1 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a Llama and a Qwen3, each of about a hundred thousand parameters."""
    pytest.importorskip("transformers", reason="needs edgedeploy[llm]")
    made = tmp_path_factory.mktemp("talk")
    for architecture in ("llama", "qwen3"):
        command = [sys.executable, str(MAKE), str(made / architecture), "--architecture", architecture, *SMALL]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=400, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-2000:]
    (made / "edgedeploy.toml").write_text(PROJECT)
    return made


def transformers_own_answer(folder: Path, tokens: int) -> tuple[list[int], list[int]]:
    """What ``generate`` of transformers makes of the text's beginning: the whole of the reference, in a process of its own."""
    program = f"""
import json, sys, torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
folder = sys.argv[1]
ids = Tokenizer.from_file(folder + "/tokenizer.json").encode(open(folder + "/../held-out.txt").read()).ids[:{tokens}]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
answer = model.generate(torch.tensor([ids]), max_new_tokens=32, min_new_tokens=32, do_sample=False)
print(json.dumps([ids, answer[0, {tokens}:].tolist()]))
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    prompt, answer = json.loads(done.stdout.splitlines()[-1])
    return prompt, answer


def test_tokens_are_pytorchs_in_fp32_and_perplexity_bears_4_bits(run: Run, folder: Path) -> None:
    done = run("push", "--target", "this-machine", "--json", cwd=folder, timeout_s=900)
    assert done.exit_code == 0, done.stderr + done.stdout[-3000:]
    document = done.document
    jsonschema.validate(document, json.loads(schema_of("push")))
    runs = {(result["model"], result["recipe"]): result for result in document["runs"]}
    assert set(runs) == {("llama", "fp32"), ("llama", "8da4w"), ("qwen", "fp32")}

    for model, name, tokens in (("llama", "llama", 48), ("qwen", "qwen3", 16)):
        result = runs[model, "fp32"]
        for place, expected in (("host", 4 * 32), ("device", 32)):
            said = result["verify"][place]["language"]
            assert said["same"] == said["tokens"]
            assert expected - 32 <= said["tokens"] <= expected, "but for ties, all are compared"
            assert result["verify"][place]["sqnr_db"] > 100
        perplexity = result["verify"]["host"]["language"]["perplexity"]
        assert perplexity["artifact"] == pytest.approx(perplexity["pytorch"], rel=1e-4)
        assert perplexity["pytorch"] < 300, "trained: one of 512 tokens at random would be 512"
        _, answer = transformers_own_answer(folder / name, tokens)
        assert result["processes"][0]["generation"]["tokens"] == answer

    small, large = runs["llama", "8da4w"], runs["llama", "fp32"]
    assert small["artifact"]["size_bytes"] < large["artifact"]["size_bytes"] / 3
    grown = small["verify"]["host"]["language"]["perplexity"]
    assert abs(grown["artifact"] / grown["pytorch"] - 1) < 0.1
    assert grown["artifact"] != grown["pytorch"]

    for result in runs.values():
        generation = result["generation"]
        assert generation["generated_tokens"] == 32
        assert len(result["latency_ns"]["samples"]) == 31 * len(result["processes"])
        first = result["processes"][0]["generation"]
        assert first["ttft_ns"] >= first["prefill_ns"] > 0
        assert generation["prefill_tokens_per_s"] > 0
        assert generation["decode_tokens_per_s"] > 0
        # 2 layers, 1 head of 32 for keys and as much for values, 128 tokens, 4 bytes.
        assert generation["kv_cache_bytes"] == 2 * 2 * 32 * 128 * 4

    assert run("results", "export", "--format", "llama-bench", "-o", "bench.json", cwd=folder).exit_code == 0
    tests = json.loads((folder / "bench.json").read_text())
    assert sorted((test["n_prompt"] > 0, test["n_gen"]) for test in tests) == [(False, 31)] * 3 + [(True, 0)] * 3
    arguments = ("results", "import", "bench.json", "--model", "llama", "--target", "this-machine", "--json")
    imported = run(*arguments, cwd=folder).document["imported"]
    repetitions = [result["measured"]["figures"]["repetitions_ns"] for result in imported]
    assert repetitions == [test["samples_ns"] for test in tests]


def test_stock_runners_read_the_file(run: Run, folder: Path) -> None:
    """ExecuTorch's own attention operators, called from Python, give the tokens that our runner's gave."""
    done = run("push", "--target", "this-machine", "--json", cwd=folder, timeout_s=900)
    result = next(r for r in done.document["runs"] if r["model"] == "llama" and r["recipe"] == "fp32")
    program = """
import sys, torch
import executorch.extension.llm.custom_ops.custom_ops, executorch.kernels.quantized
from executorch.extension.pybindings.portable_lib import _load_for_executorch
module = _load_for_executorch(sys.argv[1])
assert module.run_method("get_max_context_len", ()) == [128] and module.run_method("use_kv_cache", ()) == [True]
ids = torch.frombuffer(bytearray(open(sys.argv[2], "rb").read()), dtype=torch.int64)
logits, tokens = module.forward((ids[None], torch.arange(len(ids))))[0], []
for position in range(len(ids), len(ids) + 32):
    tokens.append(int(logits.argmax()))
    logits = module.forward((torch.tensor([tokens[-1:]]), torch.tensor([position])))[0]
print(tokens)
"""
    place = Path(result["artifact"]["folder"])
    command = [sys.executable, "-c", program, str(place / "model.pte"), str(place / "language" / "prompt_0.bin")]
    stock = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert stock.returncode == 0, stock.stderr[-2000:]
    assert json.loads(stock.stdout.splitlines()[-1]) == result["processes"][0]["generation"]["tokens"]


@pytest.mark.standin
def test_an_arm64_board_says_what_pytorch_says(run: Run, folder: Path, pi_board: SshBoard) -> None:
    write_lab(folder, "pi", "raspberry-pi-5", **board_keys(pi_board, Path.home()))
    done = run("push", "--target", "raspberry-pi-5", "--device", "pi", "--json", cwd=folder, timeout_s=900)
    assert done.exit_code == 0, done.stderr + done.stdout[-3000:]
    by_recipe = {result["recipe"]: result for result in done.document["runs"]}
    said = by_recipe["fp32"]["verify"]["device"]["language"]
    assert said["same"] == said["tokens"] > 0
    for result in by_recipe.values():
        assert result["device"] == "pi"
        assert result["device_sha256"] == result["artifact"]["sha256"]
        assert result["generation"]["decode_tokens_per_s"] > 0
        assert result["generation"]["ttft_ns"] > 0


def test_bad_folders_are_refused_with_the_reason(run: Run, folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "llama" / "config.json").read_text())
    cases = {
        "mixtral": (config | {"model_type": "mixtral"}, True, "not a language model that edgedeploy exports"),
        "pickled": (config, False, "no weights as .safetensors"),
        "quantized": (config | {"quantization_config": {"bits": 4}}, True, "quantized already"),
    }
    lines = ['name = "bad"']
    for name, (settings, weights, _) in cases.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(settings))
        (tmp_path / name / ("model.safetensors" if weights else "pytorch_model.bin")).write_bytes(b"")
        lines += [f"[models.{name}]", f'source = "{name}"', "[[deploy]]", f'model = "{name}"', 'targets = ["this-machine"]']
    (tmp_path / "edgedeploy.toml").write_text("\n".join(lines))
    done = run("export", "--target", "this-machine", "--json", cwd=tmp_path)
    assert done.exit_code == 4
    errors = {result["model"]: result["error"]["what"] for result in done.document["runs"]}
    for name, (_, _, expected) in cases.items():
        assert expected in errors[name]
