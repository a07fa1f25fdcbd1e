"""Small models for the tests of tflite-runtime 2.14.0, and how their files are made and run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgedeploy.exporters.signature import flatten_outputs, input_names
from edgedeploy.exporters.tflite import TfliteExporter
from edgedeploy.ports import Exported, ExportRequest
from edgedeploy.source import LoadedMethod, LoadedModel

_NARROWED = {torch.int64: np.int32}


def named_inputs(module: nn.Module, batch: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Inputs as a signature takes them."""
    arrays = [np.asarray(tensor.numpy(), dtype=_NARROWED.get(tensor.dtype)) for tensor in batch]
    return dict(zip(input_names(module, len(batch)), arrays, strict=True))


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        self.up = nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.classifier = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.stem(image))
        x = x + torch.relu(self.depthwise(x))
        return self.classifier(self.up(x).mean((2, 3)))


class MaskedAttention(nn.Module):
    """A decoder's layer: embeddings with rows of very different size, a mask of minus infinity, a mask that is indexed."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(96, 64)
        self.query, self.key, self.value = (nn.Linear(64, 64, bias=bias) for _ in range(3))
        self.head = nn.Linear(64, 32, bias=bias)
        with torch.no_grad():
            self.words.weight *= torch.logspace(-0.5, 0.5, 96)[:, None]
            self.head.weight *= torch.logspace(-1, 0.5, 32)[:, None]
            self.query.weight *= 4

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        x = self.words(tokens)
        length = tokens.shape[1]
        rows, columns = torch.arange(1)[:, None], torch.arange(length)[None]
        allowed = kept[rows, columns][:, None, :] & torch.ones(length, length, dtype=torch.bool).tril()[None]
        mask = torch.zeros(1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 8 + mask
        return self.head(x + torch.softmax(scores, -1) @ self.value(x))


def convolutions() -> LoadedModel:
    torch.manual_seed(0)
    return loaded(Convolutions(), [(torch.randn(1, 3, 16, 16),) for _ in range(6)])


def attention(*, bias: bool = True) -> LoadedModel:
    torch.manual_seed(0)
    kept = torch.arange(12)[None] < 9
    return loaded(MaskedAttention(bias=bias), [(torch.randint(0, 96, (1, 12)), kept) for _ in range(6)])


def loaded(module: nn.Module, batches: Sequence[tuple[Tensor, ...]], **options: Any) -> LoadedModel:
    return LoadedModel(
        name="tiny", methods=(method("forward", module, batches, **options),), user_root=str(Path(__file__).parent)
    )


def method(name: str, module: nn.Module, batches: Sequence[tuple[Tensor, ...]], **options: Any) -> LoadedMethod:
    return LoadedMethod(
        name=name,
        module=module.eval(),
        example_inputs=batches[0],
        golden_inputs=tuple(batches[:3]),
        calibration=tuple(batches),
        **options,
    )


def export(model: LoadedModel, precision: str, folder: Path, runtime_versions: Mapping[str, str] | None = None) -> Exported:
    exporter = TfliteExporter()
    lane = next(lane for lane in exporter.lanes() if lane.precision == precision)
    folder.mkdir(exist_ok=True)
    request = ExportRequest(lane=lane, os="linux", min_os="", folder=str(folder), runtime_versions=dict(runtime_versions or {}))
    return exporter.export(model, request, lambda _text: None)


def sqnr_db(outputs: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> float:
    noise = sum(float(((o.astype(np.float64) - r) ** 2).sum()) for o, r in zip(outputs, references, strict=True))
    signal = sum(float((r.astype(np.float64) ** 2).sum()) for r in references)
    return 10 * float(np.log10(signal / noise)) if noise > 0 else (999.0 if noise == 0 else -999.0)


def answers(of: LoadedMethod) -> list[np.ndarray]:
    """The first output of every golden input."""
    with torch.no_grad():
        return [flatten_outputs(of.module(*case))[0].numpy() for case in of.golden_inputs]


def run_here(file: Path | bytes, of: LoadedMethod, signature: str = "serving_default") -> list[np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    content = file if isinstance(file, bytes) else file.read_bytes()
    runner = Interpreter(model_content=content, num_threads=1).get_signature_runner(signature)
    return [runner(**named_inputs(of.module, case))["output_0"].copy() for case in of.golden_inputs]


_OLD = """
import json, sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
cases, out = np.load(sys.argv[2]), []
runner = Interpreter(sys.argv[1], num_threads=1).get_signature_runner()
for k in range(int(sys.argv[4])):
    given = {name[len(str(k)) + 1:]: cases[name] for name in cases.files if name.startswith(f"{k}:")}
    out.append(list(runner(**given).values())[0].copy())
np.savez(sys.argv[3], *out)
"""


class OldRuntimeError(Exception):
    """tflite-runtime refused, or died."""


def run_old(python: str, file: Path, of: LoadedMethod) -> list[np.ndarray]:
    """What tflite-runtime makes of a file, in a process of its own: it has been seen to crash."""
    cases, result = file.with_suffix(".npz"), file.with_suffix(".outputs.npz")
    arrays = {
        f"{k}:{name}": value for k, case in enumerate(of.golden_inputs) for name, value in named_inputs(of.module, case).items()
    }
    np.savez(cases, **arrays)  # type: ignore[arg-type]
    argv = [python, "-c", _OLD, str(file), str(cases), str(result), str(len(of.golden_inputs))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise OldRuntimeError(f"{done.returncode}: {done.stderr[-500:]}")
    outputs = np.load(result)
    return [outputs[f"arr_{number}"] for number in range(len(of.golden_inputs))]


_VERSIONS = """
import json, sys
from tflite_runtime.interpreter import Interpreter
loaded = []
for line in sys.stdin:
    operator, version, content = json.loads(line)
    try:
        Interpreter(model_content=bytes.fromhex(content))
        loaded.append([operator, version])
    except ValueError as error:
        assert "Didn't find op" in str(error) or "Registration failed" in str(error), error
print(json.dumps(loaded))
"""


def loaded_versions(python: str, files: Mapping[tuple[str, int], bytes]) -> set[tuple[str, int]]:
    """Which of these one-operator files tflite-runtime has a kernel for."""
    lines = "\n".join(json.dumps([operator, version, content.hex()]) for (operator, version), content in files.items())
    done = subprocess.run([python, "-c", _VERSIONS], input=lines, capture_output=True, text=True, timeout=300, check=True)
    return {(operator, version) for operator, version in json.loads(done.stdout.splitlines()[-1])}
