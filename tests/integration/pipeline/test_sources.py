"""What a model source may be and do, and that no change to it is missed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from integration.pipeline.command import Run

pytestmark = pytest.mark.sdk

PROJECT = """\
name = "sources"
[models.net]
source = "{source}"
[[deploy]]
model = "net"
targets = ["this-machine"]
exporters = {exporters}
"""


def make(folder: Path, model: str, *, source: str = "model.py:net", exporters: str = '["tflite"]') -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "edgedeploy.toml").write_text(PROJECT.format(source=source, exporters=exporters))
    if model:
        (folder / "model.py").write_text("import torch\nfrom edgedeploy import ModelSource\n" + model)
    return folder


def is_cached(run: Run, folder: Path) -> bool:
    done = run("export", "--target", "this-machine", "--dry-run", "--json", cwd=folder)
    assert done.exit_code == 0, done.stderr
    return bool(done.document["runs"][0]["export_cached"])


def test_every_change_is_noticed_and_damage_in_the_cache_is_mended(run: Run, tmp_path: Path, cache_home: Path) -> None:
    folder = make(
        tmp_path / "p",
        """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.load("a.pt"), torch.load("b.pt")
        import os
        os.close(os.open("low.bin", os.O_RDONLY))

    def forward(self, x):
        from lazy_helper import K
        return x * K * self.a + self.b

def net():
    return ModelSource(module=Net(), example_inputs=(torch.randn(2, 3),))
""",
    )
    # A module of the user's with the name of one of Python's own is neither run by others nor lost.
    (folder / "profile.py").write_text("raise SystemExit('the project shadows the standard library')\n")
    (folder / "lazy_helper.py").write_text("K = 2.0\n")
    (folder / "low.bin").write_bytes(b"1")
    code = "import torch; torch.save(torch.full((3,), 1.0), 'a.pt'); torch.save(torch.full((3,), 5.0), 'b.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
    assert not is_cached(run, folder)
    first = run("export", "--target", "this-machine", "--json", cwd=folder)
    assert first.exit_code == 0, first.stderr
    assert is_cached(run, folder)

    for name, content in (("lazy_helper.py", b"K = 3.0\n"), ("low.bin", b"2")):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        assert not is_cached(run, folder), name
        (folder / name).write_bytes(before)
        assert is_cached(run, folder), name

    for a, b in (("a.pt", "tmp"), ("b.pt", "a.pt"), ("tmp", "b.pt")):
        (folder / a).rename(folder / b)
    assert not is_cached(run, folder)
    swapped = run("export", "--target", "this-machine", "--json", cwd=folder)
    sha256 = [document["runs"][0]["artifact"]["sha256"] for document in (first.document, swapped.document)]
    assert sha256[0] != sha256[1]

    artifact = Path(swapped.document["runs"][0]["artifact"]["folder"])
    assert artifact.is_relative_to(cache_home)
    (artifact / "golden/forward-0-reference_0.bin").write_bytes(bytes(24))
    assert not is_cached(run, folder)
    again = run("push", "--target", "this-machine", "--json", cwd=folder)
    assert again.exit_code == 0, again.stderr
    assert not again.document["runs"][0]["artifact"]["export_cached"]
    (artifact / "artifact.json").write_text('{"half')
    assert not is_cached(run, folder)
    for record in (cache_home / "edgedeploy/sources").glob("*.json"):
        record.write_text("{")
    assert not is_cached(run, folder)


def test_damage_on_the_device_is_found_and_mended_by_the_same_push(run: Run, project: Path) -> None:
    first = run("push", "--target", "this-machine", "--json", cwd=project)
    assert first.exit_code == 0, first.stderr
    sha256 = first.document["runs"][1]["artifact"]["sha256"]
    blob = Path(os.environ["HOME"]) / ".cache/edgedeploy/this-machine/blobs" / sha256
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o755)
    blob.write_bytes(content)
    mended = run("push", "--target", "this-machine", "--json", cwd=project)
    assert mended.exit_code == 0, mended.stderr
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == sha256
    assert mended.document["runs"][1]["device_sha256"] == sha256


def test_an_exported_program_is_a_source_for_every_exporter(run: Run, tmp_path: Path) -> None:
    folder = make(tmp_path / "p", "", source="saved.pt2", exporters='["executorch", "tflite"]')
    code = "import torch; torch.export.save(torch.export.export(torch.nn.Linear(4, 2), (torch.ones(1, 4),)), 'saved.pt2')"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
    file = folder / "edgedeploy.toml"
    file.write_text(file.read_text() + '[[deploy]]\nmodel = "net"\ntargets = ["iphone15"]\n')
    done = run("export", "--target", "this-machine", "--json", cwd=folder)
    assert done.exit_code == 0, done.stdout
    for result in done.document["runs"]:
        assert result["verify"]["host"]["max_abs_error"] < 1e-6
    assert run("export", "--target", "iphone15", "--json", cwd=folder).exit_code == 0
    assert is_cached(run, folder)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
    assert not is_cached(run, folder)


def test_a_model_with_state_is_compared_as_it_runs(run: Run, tmp_path: Path) -> None:
    folder = make(
        tmp_path / "p",
        """
class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count.add_(1)
        return x * self.count

def net():
    inputs = [(torch.ones(1, 3) * i,) for i in (1, 2, 3)]
    return ModelSource(module=Counter(), example_inputs=inputs[0], golden_inputs=inputs)
""",
        exporters='["executorch"]',
    )
    done = run("push", "--target", "this-machine", "--json", cwd=folder)
    assert done.exit_code == 0, done.stdout
    assert done.document["runs"][0]["verify"]["device"]["exact"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("class Net(torch.nn.Module):\n    def forward(self, x):\n        return x.sub_(0.5)", "changes its input 0 in place"),
        ("class Net(torch.nn.Module):\n    def forward(self, x):\n        return torch.log(-x.abs() - 1)", "NaN or infinite"),
        (
            "class Net(torch.nn.Module):\n    def forward(self, x):\n        return torch.nn.functional.dropout(x)",
            "answers differently when the same input is given again",
        ),
        ("class Net(torch.nn.Module):\n    def forward(self, x):\n        return x * len(input('how much?'))", "EOFError"),
        ("import os\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        os._exit(3)", "ended with code 3"),
        ("class Net(torch.nn.Module):\n    def forward(self, x)\n        return x", "model.py:"),
    ],
)
def test_models_that_cannot_be_compared(run: Run, tmp_path: Path, body: str, words: str) -> None:
    folder = make(
        tmp_path / "p", body + "\n\ndef net():\n    return ModelSource(module=Net(), example_inputs=(torch.randn(2, 3),))\n"
    )
    done = run("export", "--target", "this-machine", "--json", cwd=folder)
    assert done.exit_code == 4, done.stdout
    assert words in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_model_that_pytorch_has_quantized_is_exported_as_int8(run: Run, tmp_path: Path) -> None:
    """``SimpleModel`` with stubs, and the same converted for fbgemm: near enough to each other, and a third of the size."""
    zoo = Path(__file__).parents[3] / "examples/zoo"
    text = 'name = "eager"\n[models]\n'
    for name in ("simple_model", "simple_model_converted"):
        text += f'{name} = {{ source = "eager_quantized.py:{name}" }}\n'
    for name in ("simple_model", "simple_model_converted"):
        text += f'[[deploy]]\nmodel = "{name}"\ntargets = ["this-machine"]\nrecipes = ["fp32", "int8"]\n'
        text += 'exporters = ["executorch", "tflite"]\n'
    (tmp_path / "edgedeploy.toml").write_text(text)
    for file in ("eager_quantized.py", "seeded.py"):
        (tmp_path / file).write_text((zoo / file).read_text())
    done = run("export", "--target", "this-machine", "--json", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    runs = {(r["model"], r["lane"]["exporter"], r["lane"]["precision"]): r for r in done.document["runs"]}
    assert len(runs) == 8
    for (model, exporter, precision), result in runs.items():
        sqnr_db = result["verify"]["host"]["sqnr_db"]
        if precision == "fp32":
            assert sqnr_db > 100
        else:
            assert 25 < sqnr_db < 60
            size_bytes = runs[model, exporter, "fp32"]["artifact"]["size_bytes"]
            assert result["artifact"]["size_bytes"] < 0.45 * size_bytes
