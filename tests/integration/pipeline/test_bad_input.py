"""What goes wrong on the user's side ends with one clear error, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from integration.pipeline.command import Finished, Run

EXPORT = ("export", "--target", "linux-x86_64")

# What hides a distribution from importlib.metadata, in every process that starts with this folder on PYTHONPATH.
HIDING = """\
import importlib.metadata

_real = importlib.metadata.Distribution.from_name.__func__


def _from_name(cls, name):
    if name == "executorch":
        raise importlib.metadata.PackageNotFoundError(name)
    return _real(cls, name)


importlib.metadata.Distribution.from_name = classmethod(_from_name)
"""


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """A project of one model, ``model.py:net``, which the test writes."""
    folder = tmp_path / "spoilt"
    folder.mkdir()
    (folder / "model.py").write_text("")
    write_project(folder)
    return folder


def write_project(folder: Path, source: str = "model.py:net", more: str = "") -> None:
    (folder / "edgedeploy.toml").write_text(f"""\
name = "spoilt"
[models.net]
source = "{source}"
{more}
[[deploy]]
model = "net"
targets = ["linux-x86_64", "this-machine", "pixel8"]
exporters = ["executorch"]
""")


def refused(done: Finished, exit_code: int, *parts: str) -> str:
    """Check that this is one clear error: its code, all it has to say, and no traceback. Returns what was said."""
    said = done.stdout + done.stderr
    assert done.exit_code == exit_code, said
    for part in parts:
        assert part in said, said
    assert "Traceback" not in said, said
    assert 'File "' not in said, said
    return said


def nothing_half_done(cache_home: Path) -> None:
    # A scratch folder is named after the process that uses it; other tests run beside this one.
    left = [
        folder
        for folder in (cache_home / "edgedeploy").glob("scratch-*")
        if not Path("/proc", folder.name.split("-")[1]).exists()
    ]
    assert not left
    for artifact in (cache_home / "edgedeploy").glob("exports/*"):
        assert (artifact / "artifact.json").is_file()


def one_error(done: Finished) -> str:
    """The lines of the only error on stderr."""
    lines = done.stderr.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, done.stderr
    return "\n".join(lines[starts[0] :])


# -- the model's own code ---------------------------------------------------------------------------------------------


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("source", "parts"),
    [
        pytest.param(
            "x = 1\nimport a_package_nobody_has\n",
            ("model.py cannot be imported", "model.py:2: `import a_package_nobody_has`", "ModuleNotFoundError"),
            id="import",
        ),
        pytest.param("def net(:\n", ("model.py cannot be imported", "SyntaxError"), id="syntax"),
        pytest.param("raise SystemExit(3)\n", ("model.py cannot be imported", "model.py:1", "SystemExit"), id="exit"),
        pytest.param(
            "def net():\n    return {}['weights']\n",
            ("net() raised while making the model", "model.py:2: `return {}['weights']`", "KeyError: 'weights'"),
            id="making",
        ),
        pytest.param("def net():\n    return 3\n", ("net() has to return", "int"), id="return"),
        pytest.param(
            """\
import torch
from edgedeploy import ModelSource

class Net(torch.nn.Module):
    def forward(self, x):
        return torch.ones(3) @ x

def net():
    return ModelSource(module=Net(), example_inputs=(torch.randn(4),))
""",
            ("the model's forward raised", "model.py:6: `return torch.ones(3) @ x`", "RuntimeError", "example_inputs"),
            id="forward",
        ),
    ],
)
def test_a_model_whose_code_raises_points_at_the_users_line(
    run: Run, spoilt: Path, cache_home: Path, source: str, parts: tuple[str, ...]
) -> None:
    (spoilt / "model.py").write_text(source)
    done = run(*EXPORT, "--json", cwd=spoilt)
    refused(done, 4, *parts)
    (result,) = done.document["runs"]
    assert (result["error"]["kind"], result["error"]["exit_code"]) == ("ModelError", 4)
    assert result["verdict"]["status"] == "error"
    nothing_half_done(cache_home)


@pytest.mark.sdk
def test_a_callable_that_is_not_there_is_told_with_the_nearest(run: Run, spoilt: Path) -> None:
    (spoilt / "model.py").write_text("def nett():\n    pass\n\ndef other():\n    pass\n")
    refused(run(*EXPORT, cwd=spoilt), 2, "model.py has no callable 'net'", "did you mean 'nett'?", "models.net.source")


@pytest.mark.sdk
def test_a_model_that_cannot_be_exported_names_the_operator_and_its_line(run: Run, spoilt: Path, cache_home: Path) -> None:
    (spoilt / "model.py").write_text("""\
import torch
from edgedeploy import ModelSource

class Net(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        return torch.linalg.eigh(y).eigenvalues

def net():
    return ModelSource(module=Net(), example_inputs=(torch.eye(4),))
""")
    done = run(*EXPORT, "--json", cwd=spoilt)
    refused(done, 4, "linalg", "model.py:7")
    (result,) = done.document["runs"]
    assert result["error"]["kind"] == "ExportError"
    nothing_half_done(cache_home)


@pytest.mark.sdk
def test_one_bad_model_does_not_hold_up_a_good_one(run: Run, project: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise ValueError('not today')\n")
    file = project / "edgedeploy.toml"
    more = f'[models.bad]\nsource = "{tmp_path}/bad.py:net"\n[[deploy]]\nmodel = "bad"\ntargets = ["linux-x86_64"]\n'
    file.write_text(file.read_text() + more)
    done = run(*EXPORT, "-o", str(tmp_path / "dist"), "--json", cwd=project)
    refused(done, 4, "not today", "bad.py:1")
    assert {result["model"]: result["verdict"]["status"] for result in done.document["runs"]} == {
        "bad": "error",
        "net": "unmeasured",
    }
    assert not list(tmp_path.glob("*dist*"))


# -- names and files --------------------------------------------------------------------------------------------------


def test_unknown_names(run: Run, spoilt: Path) -> None:
    refused(
        run("export", "--target", "linux-x86-64", cwd=spoilt), 2, "unknown target 'linux-x86-64'", "did you mean 'linux-x86_64'?"
    )
    refused(run(*EXPORT, "--model", "nett", cwd=spoilt), 2, "unknown model 'nett'", "did you mean 'net'?")
    refused(run("export", "--target", "pixel9", cwd=spoilt), 2, "nothing is to be deployed to 'pixel9'", "[[deploy]]")
    refused(run("push", "--target", "this-machine", "--device", "that-machine", cwd=spoilt), 2, "no device named 'that-machine'")
    refused(run("report", "no-such-run", cwd=spoilt), 2, "no-such-run")
    refused(run("report", cwd=spoilt), 2, "no results yet", "edgedeploy push")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('name = "x"\nmodels = nothing\n', ("not valid TOML", "line 2")),
        ('nmae = "x"\n', ("nmae",)),
        ('name = "x"\n[models.net]\nsource = "model.py:net"\nsize = 3\n', ("unknown key 'size'", "models.net.size")),
        (
            'name = "x"\n[models.net]\nsource = "model.py:net"\n[[deploy]]\nmodel = "ney"\ntargets = ["pixel8"]\n',
            ("unknown model 'ney'", "deploy[0].model", "did you mean 'net'?"),
        ),
    ],
)
def test_a_project_file_that_is_wrong_is_told_with_file_and_key(
    run: Run, spoilt: Path, text: str, parts: tuple[str, ...]
) -> None:
    (spoilt / "edgedeploy.toml").write_text(text)
    done = run(*EXPORT, cwd=spoilt)
    refused(done, 2, "edgedeploy.toml", *parts)
    one_error(done)


def test_files_that_are_not_there(run: Run, spoilt: Path, tmp_path: Path) -> None:
    (spoilt / "model.py").unlink()
    refused(run(*EXPORT, cwd=spoilt), 2, "no file 'model.py'", "models.net.source")
    refused(run(*EXPORT, "--project", "gone.toml", cwd=tmp_path), 2, "no such file or folder")
    refused(run("push", "--bundle", "gone", cwd=tmp_path), 2, "not a bundle", "gone/bundle.json")
    refused(run("targets", "check", "gone.toml", cwd=tmp_path), 2, "gone.toml")
    (tmp_path / "file").write_text("")
    url = f"sqlite:///{tmp_path}/file/history.sqlite"
    refused(run("history", cwd=spoilt, EDGEDEPLOY_RESULTS_URL=url), 2, f"{tmp_path}/file")


@pytest.mark.sdk
def test_an_output_folder_that_holds_something_else_is_left_alone(run: Run, project: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    refused(run(*EXPORT, "-o", str(tmp_path / "mine"), cwd=project), 2, "not a bundle", str(tmp_path / "mine"))
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    refused(run(*EXPORT, "-o", str(tmp_path / "file/dist"), cwd=project), 2, str(tmp_path / "file/dist"))


def test_two_devices_with_one_serial(run: Run, spoilt: Path) -> None:
    (spoilt / "lab.toml").write_text(
        "".join(f'[devices.{name}]\ntarget = "pixel8"\nserial = "38150DLJH000XX"\n' for name in "ab")
    )
    for command in (("push", "--target", "pixel8"), ("devices",)):
        done = run(*command, cwd=spoilt)
        refused(done, 2, "two devices with one address: 'a' and 'b'", "38150DLJH000XX", "lab.toml: devices.b")
        one_error(done)


def test_a_lab_file_that_names_no_target(run: Run, spoilt: Path) -> None:
    (spoilt / "lab.toml").write_text('[devices.pi]\ntarget = "raspberry-pi5"\nhost = "pi"\n')
    refused(run("devices", cwd=spoilt), 2, "unknown target 'raspberry-pi5'", "did you mean 'raspberry-pi-5'?")


# -- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.sdk
def test_an_sdk_that_is_not_installed_names_its_extra(run: Run, spoilt: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(HIDING)
    done = run(*EXPORT, cwd=spoilt, PYTHONPATH=str(tmp_path / "site"))
    refused(done, 3, "the SDK of the exporter 'executorch' is not installed", "missing: executorch", "edgedeploy[executorch]")
    one_error(done)


def test_an_adb_that_is_not_there(run: Run, spoilt: Path) -> None:
    done = run("push", "--target", "pixel8", cwd=spoilt, EDGEDEPLOY_ADB="/no/such/adb")
    refused(done, 3, "adb", "/no/such/adb")
    one_error(done)


@pytest.mark.sdk
def test_a_cache_that_cannot_be_written(run: Run, spoilt: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(*EXPORT, cwd=spoilt, XDG_CACHE_HOME=str(tmp_path / "file"))
    refused(done, 2, "the cache folder cannot be written", "XDG_CACHE_HOME")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 kB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    with _mounted(folder, size_bytes=256 << 10):
        yield folder


@contextmanager
def _mounted(folder: Path, *, size_bytes: int) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "edgedeploy-test", str(folder)],
        capture_output=True,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=30, check=True)


BIG = """\
import torch
from edgedeploy import ModelSource

def net():
    return ModelSource(module=torch.nn.Linear(500, 500), example_inputs=(torch.randn(1, 500),))
"""


@pytest.mark.sdk
def test_a_disk_that_is_full_in_the_middle_of_an_export(run: Run, spoilt: Path, small_disk: Path) -> None:
    (spoilt / "model.py").write_text(BIG)
    done = run(*EXPORT, "--json", cwd=spoilt, XDG_CACHE_HOME=str(small_disk))
    refused(done, 2, "no space left")
    assert [result["error"]["kind"] for result in done.document["runs"]] == ["UsageError"]
    nothing_half_done(small_disk)


@pytest.mark.sdk
def test_a_device_that_is_full(run: Run, project: Path, small_disk: Path) -> None:
    targets = project / "targets"
    targets.mkdir()
    try:
        text = (Path(__file__).parents[3] / "targets/this-machine.toml").read_text()
        (targets / "this-machine.toml").write_text(text.replace("~/.cache/edgedeploy/this-machine", str(small_disk / "store")))
        done = run("push", "--target", "this-machine", "--json", cwd=project)
    finally:
        (targets / "this-machine.toml").unlink()
        targets.rmdir()
    refused(done, 6, "not enough space")
    assert {result["error"]["kind"] for result in done.document["runs"]} == {"DeviceStorageError"}
    assert list((small_disk / "store/blobs").iterdir()) == []
    assert list((small_disk / "store/incoming").iterdir()) == []
