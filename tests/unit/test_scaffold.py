"""A new project: what is written is whole, valid, and never written over something."""

from __future__ import annotations

import ast
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgedeploy.cli.init import init
from edgedeploy.config.project import read_project
from edgedeploy.config.strict import read
from edgedeploy.domain.project import Lab
from edgedeploy.errors import UsageError
from edgedeploy.scaffold import project_name, scaffold
from edgedeploy.shipped import shipped

WRITTEN = {
    ".github/workflows/edgedeploy.yml",
    ".gitignore",
    "edgedeploy.mk",
    "edgedeploy.toml",
    "lab.toml.example",
    "model.py",
}


def files_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


def uncommented(text: str) -> str:
    """The file as a user has it who takes the example blocks in; prose stays a comment."""
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        code = re.match(r"(\[|[a-z0-9_]+ = )", bare)
        lines.append(bare if line.startswith("# ") and code else line)
    return "\n".join(lines)


def test_everything_is_written_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop"
    written = scaffold(folder)
    assert {str(file.relative_to(folder)) for file in written} == WRITTEN == files_in(folder)
    assert written == tuple(sorted(written))
    for file in written:
        text = file.read_text(encoding="utf-8")
        assert "@PROJECT@" not in text
        assert text.endswith("\n")
        assert stat.S_IMODE(file.stat().st_mode) & 0o044, "others may read it, as far as the umask lets them"


def test_the_project_file_is_valid_as_it_is(tmp_path: Path) -> None:
    scaffold(tmp_path, name="shop")
    project = read_project(tmp_path / "edgedeploy.toml")
    assert project.name == "shop"
    assert [deploy.targets for deploy in project.deploy] == [("this-machine",)]


def test_the_commented_blocks_are_valid_and_their_targets_exist(tmp_path: Path) -> None:
    scaffold(tmp_path, name="shop")
    file = tmp_path / "edgedeploy.toml"
    file.write_text(uncommented(file.read_text(encoding="utf-8")), encoding="utf-8")
    project = read_project(file)
    targets = {target for deploy in project.deploy for target in deploy.targets}
    assert targets == {"this-machine", "pixel8", "raspberry-pi-5"}
    assert targets <= {target.stem for target in shipped("targets").glob("*.toml")}
    assert project.recipes["int8-strict"].accept.min_sqnr_db == 20.0
    assert project.deploy[0].budget.latency_p50_ms == 5.0
    assert project.results.url.startswith("postgresql")


def test_the_example_lab_is_valid(tmp_path: Path) -> None:
    scaffold(tmp_path)
    file = tmp_path / "lab.toml.example"
    assert read(file, Lab).devices["desk-pi"].target == "raspberry-pi-5"
    file.write_text(uncommented(file.read_text(encoding="utf-8")), encoding="utf-8")
    assert read(file, Lab).devices["blue-pixel"].transport == "adb"


def test_the_model_has_the_callable_the_project_names(tmp_path: Path) -> None:
    scaffold(tmp_path, name="shop")
    source = read_project(tmp_path / "edgedeploy.toml").models["tinynet"].source
    file, _, function = source.partition(":")
    tree = ast.parse((tmp_path / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_existing_files_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("mine")
    (tmp_path / "edgedeploy.mk").symlink_to("nowhere")
    with pytest.raises(UsageError, match="there already") as refused:
        scaffold(tmp_path)
    assert refused.value.seen == "edgedeploy.mk, model.py"
    assert files_in(tmp_path) == {"model.py", "edgedeploy.mk"}
    assert (tmp_path / "model.py").read_text() == "mine"


def test_force_overwrites_and_keeps_permissions(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("mine")
    (tmp_path / "model.py").chmod(0o600)
    scaffold(tmp_path, force=True)
    assert "ModelSource" in (tmp_path / "model.py").read_text()
    assert stat.S_IMODE((tmp_path / "model.py").stat().st_mode) == 0o600


def test_an_ignore_file_is_added_to_once(tmp_path: Path) -> None:
    ignore = tmp_path / ".gitignore"
    ignore.write_text("*.log\ndist/")
    scaffold(tmp_path)
    lines = ignore.read_text().splitlines()
    assert lines[:2] == ["*.log", "dist/"]
    assert lines.count("lab.toml") == 1
    assert lines.count("dist/") == 1
    once = ignore.read_text()
    scaffold(tmp_path, force=True)
    assert ignore.read_text() == once


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = os.fdopen

    def full(descriptor: int, *args: object, **kwargs: object) -> object:
        calls.append(descriptor)
        if len(calls) == 4:
            os.close(descriptor)
            raise OSError(28, "No space left on device")
        return real(descriptor, *args, **kwargs)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(UsageError, match="cannot be written") as refused:
        scaffold(tmp_path)
    assert "No space left" in refused.value.seen
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("folder", "name"), [("My Shop!", "my-shop"), (".hidden", "hidden"), ("a_b.c-1", "a_b.c-1"), ("Ünï", "n")]
)
def test_names_from_folders(folder: str, name: str) -> None:
    assert project_name("", Path("/") / folder) == name.strip("-")


@pytest.mark.parametrize("name", ["My", "a b", "-x", "../up", 'x"\ny', "@PROJECT@"])
def test_names_that_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no project name"):
        scaffold(tmp_path, name=name)
    assert files_in(tmp_path) == set()


def test_a_folder_name_of_which_nothing_is_left() -> None:
    with pytest.raises(UsageError, match="makes no project name"):
        project_name("", Path("/模型"))


def test_the_command_lists_files_on_stdout_and_the_next_step_on_stderr(tmp_path: Path) -> None:
    result = CliRunner().invoke(init, [str(tmp_path / "new one"), "--name", "shop"])
    assert result.exit_code == 0
    assert {str(Path(line).relative_to(tmp_path / "new one")) for line in result.stdout.splitlines()} == WRITTEN
    assert "push --target this-machine" in result.stderr
    again = CliRunner().invoke(init, [str(tmp_path / "new one")])
    assert isinstance(again.exception, UsageError)
    assert again.exception.exit_code == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_rules_work_from_another_folder_and_choose_the_right_one(tmp_path: Path) -> None:
    scaffold(tmp_path / "deploy", name="shop")
    (tmp_path / "release-pixel8").touch()
    (tmp_path / "Makefile").write_text("include deploy/edgedeploy.mk\n-include nothing.mk\nall:\n\t@echo default goal\n")

    def make(*arguments: str) -> str:
        done = subprocess.run(
            ["make", "-s", "-C", str(tmp_path), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    assert make() == "default goal"
    assert make("EDGEDEPLOY=echo", "release-pixel8") == "push --project deploy --target pixel8"
    assert make("EDGEDEPLOY=echo", "release-dry-pixel8") == "push --project deploy --target pixel8 --dry-run"
    assert make("EDGEDEPLOY=echo", "EDGEDEPLOY_FLAGS=--no-measure", "release-a-b.c") == (
        "push --project deploy --target a-b.c --no-measure"
    )
