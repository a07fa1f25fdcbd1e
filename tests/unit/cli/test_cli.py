"""The command line's manners: quick, one message per failure, the right exit code. Each in a process, as a shell runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner

from edgedeploy import __version__, cli, errors
from edgedeploy.cli import VERBS

# Imports cost every call of the command: these are for the verbs that need them.
HEAVY = (
    "torch", "executorch", "coremltools", "litert_torch", "ai_edge_litert", "paramiko", "sqlalchemy", "numpy", "rich", "adbutils",
    "jinja2",
)  # fmt: skip
IMPORTS = f"""
import sys
from edgedeploy.cli import main
try:
    main()
except SystemExit as ended:
    code = ended.code
print("HEAVY", code or 0, sorted(set({HEAVY!r}) & set(sys.modules)))
"""
EVERY_ERROR = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.EdgedeployError)]
TARGET = """\
name = "{name}"
title = "A board"
os = "linux"
abi = "linux-aarch64"
transports = ["ssh"]
workdir = "~/x"
lanes = [{{ exporter = "tflite", backend = "xnnpack" }}]
"""


class Ended:
    """A command that ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


def edgedeploy(*arguments: str, cwd: Path, code: str = "from edgedeploy.cli import main\nmain()") -> Ended:
    """``edgedeploy ARGUMENTS``; ``code`` is what the process runs."""
    # The bug report of a crash goes to the test's own folder.
    environment = os.environ | {"TMPDIR": str(cwd)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return Ended(done)


def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """``main()`` in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["edgedeploy", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["targets"], ["targets", "show", "pixel8"], ["push", "--help"]])
def test_what_is_asked_for_often_imports_nothing_heavy(arguments: Sequence[str], tmp_path: Path) -> None:
    done = edgedeploy(*arguments, cwd=tmp_path, code=IMPORTS)
    assert done.out.splitlines()[-1] == "HEAVY 0 []"


def test_importing_the_python_api_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, edgedeploy; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert edgedeploy(cwd=tmp_path, code=code).out == "[]\n"


def test_help_names_every_verb_in_the_order_of_a_projects_life() -> None:
    shown = CliRunner().invoke(cli.cli, ["--help"])
    listed = shown.output.partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "] == list(VERBS)
    assert "Exit codes: 0 pass" in " ".join(shown.output.split())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_says_there_what_the_list_says(verb: str) -> None:
    shown = CliRunner().invoke(cli.cli, [verb, "--help"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(f"Usage: cli {verb}")
    command = cli.cli.get_command(click.Context(cli.cli), verb)
    assert command is not None
    assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option))


def test_version() -> None:
    assert CliRunner().invoke(cli.cli, ["--version"], prog_name="edgedeploy").output == f"edgedeploy, version {__version__}\n"


@pytest.mark.parametrize(
    ("seen", "meant"), [("pusch", "push"), ("target", "targets"), ("shcema", "schema"), ("doktor", "doctor")]
)
def test_a_misspelt_verb_is_told_with_the_nearest(
    seen: str, meant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = inside(monkeypatch, capsys, seen)
    assert (code, out) == (2, "")
    assert f"no command {seen!r}; did you mean {meant!r}?" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["push", "--traget", "x"],
        ["schema", "nothing"],
        ["history", "--limit", "0"],
        ["targets", "show"],
        *(
            ["compare", "now", "--target", "x", option, "nan"]
            for option in ("--tolerance", "--max-seconds", "--turn-seconds", "--wait")
        ),
        ["compare", "now", "--target", "x", "--tolerance", "inf"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_how_to_get_help(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = inside(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err
    assert "--help" in err


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def schema_of(_kind: str) -> str:
        raise error

    monkeypatch.setattr("edgedeploy.config.schema.schema_of", schema_of)


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_an_error_is_told_once_with_its_exit_code(
    kind: type[errors.EdgedeployError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, kind("it broke", where="file.toml: key", seen="3", next_step="write 4"))
    code, out, err = inside(monkeypatch, capsys, "schema", "push")
    assert code == kind.exit_code
    assert out == ""
    assert err == "error: file.toml: key: it broke\n  seen: 3\n  next: write 4\n"


def test_the_exit_codes_are_those_of_the_design() -> None:
    codes = {kind.__name__: kind.exit_code for kind in EVERY_ERROR}
    assert codes == {
        "EdgedeployError": 70, "InternalError": 70,
        "UsageError": 2, "ConfigError": 2, "SignatureError": 2,
        "MissingToolError": 3,
        "ModelError": 4, "CompressError": 4, "ExportError": 4, "VerifyError": 4,
        "DeviceError": 5, "DeviceUnavailableError": 5, "DeviceAbsentError": 5, "DeviceBusyError": 5,
        "DeviceLostError": 5, "CommandTimeoutError": 5, "LeaseLostError": 5,
        "DeviceRunError": 6, "DeviceStorageError": 6, "RunnerError": 6, "RunnerKilledError": 6,
    }  # fmt: skip
    assert {kind.__name__ for kind in EVERY_ERROR if kind.retryable} == {
        "DeviceAbsentError", "DeviceBusyError", "DeviceLostError", "CommandTimeoutError", "LeaseLostError",
    }  # fmt: skip


def test_with_json_an_error_is_one_document_on_stdout_and_text_on_stderr(tmp_path: Path) -> None:
    done = edgedeploy("push", "--target", "pixle8", "--json", cwd=tmp_path)
    assert done.code == 2
    document = json.loads(done.out)
    assert set(document) == {"schema", "kind", "exit_code", "retryable", "what", "where", "seen", "next_step"}
    assert (document["schema"], document["kind"], document["exit_code"]) == ("edgedeploy.error/1", "UsageError", 2)
    assert document["retryable"] is False
    assert document["what"] in done.err
    assert document["next_step"] in done.err


def test_a_target_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "edgedeploy.toml").write_text('name = "p"\n[models.net]\nsource = "model.py:net"\n')
    for arguments in (["push", "--target", "pixle8"], ["export", "--target", "pixle8"], ["targets", "show", "pixle8"]):
        done = edgedeploy(*arguments, cwd=tmp_path)
        assert done.code == 2
        assert done.out == ""
        assert "unknown target 'pixle8'" in done.err
        assert "did you mean 'pixel8'?" in done.err


def test_push_without_a_target_says_how_to_list_them(tmp_path: Path) -> None:
    done = edgedeploy("push", cwd=tmp_path)
    assert done.code == 2
    assert "edgedeploy targets" in done.err


@pytest.mark.parametrize("verb", [["push", "--target", "pixel8"], ["export", "--target", "pixel8"], ["history"], ["report"]])
def test_outside_a_project_the_way_in_is_told(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = inside(monkeypatch, capsys, *verb)
    assert (code, out) == (2, "")
    assert "no edgedeploy.toml here or in a folder above" in err
    assert "edgedeploy init" in err


@pytest.mark.parametrize("arguments", [["--model", "net"], ["--dry-run"]])
def test_what_does_not_go_with_a_bundle(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = inside(monkeypatch, capsys, "push", "--bundle", str(tmp_path), *arguments)
    assert code == 2
    assert "a bundle is pushed whole" in err


def test_a_folder_that_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["push"], ["history"], ["report"]):
        code, out, err = inside(monkeypatch, capsys, *verb, "--bundle", str(tmp_path))
        assert (code, out) == (2, "")
        assert "not a bundle" in err
        assert "edgedeploy export" in err


INTERRUPTED = """
import os, signal, threading
from edgedeploy import cli
from edgedeploy.config import schema
def wait(kind):
    print("waiting", flush=True)
    threading.Event().wait(60)
schema.schema_of = wait
cli.main()
"""


def test_ctrl_c_ends_with_130_and_one_line(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, "schema", "push"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "interrupted; nothing half-done was left behind"


def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    code = "from edgedeploy.cli import main\nmain()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "schema", "push"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode != 70


BUG = """
from edgedeploy import cli
from edgedeploy.config import schema
def broken(kind):
    raise ValueError("never thought of")
schema.schema_of = broken
cli.main()
"""


def test_a_bug_ends_with_70_and_a_report_that_holds_the_traceback(tmp_path: Path) -> None:
    done = edgedeploy("schema", "push", cwd=tmp_path, code=BUG)
    assert (done.code, done.out) == (70, "")
    assert "a bug of edgedeploy: ValueError: never thought of" in done.err
    (report,) = tmp_path.glob("edgedeploy-bug-*.txt")
    assert str(report) in done.err
    text = report.read_text()
    assert text.startswith(f"edgedeploy {__version__}\n")
    assert "'schema', 'push'" in text
    assert "Traceback (most recent call last)" in text
    assert "never thought of" in text


def test_targets_lists_every_target_with_how_it_is_reached() -> None:
    shown = CliRunner().invoke(cli.cli, ["targets"])
    assert shown.exit_code == 0
    lines = {line.split()[0]: line for line in shown.output.splitlines()}
    assert {"this-machine", "linux-x86_64", "pixel8", "raspberry-pi-5", "iphone15"} <= set(lines)
    assert "adb" in lines["pixel8"]
    assert "executorch" in lines["pixel8"]
    document = json.loads(CliRunner().invoke(cli.cli, ["targets", "--json"]).output)
    assert document["schema"] == "edgedeploy.targets/1"
    assert [target["name"] for target in document["targets"]] == list(lines)


def test_targets_show_has_sources_and_says_what_nobody_has_checked() -> None:
    shown = CliRunner().invoke(cli.cli, ["targets", "show", "pixel8"]).output
    assert "[sources]" in shown
    assert "# never confirmed on a real unit: " in shown
    document = json.loads(CliRunner().invoke(cli.cli, ["targets", "show", "pixel8", "--json"]).output)
    assert document["name"] == "pixel8"
    assert document["sources"]


def test_a_target_of_the_projects_own_is_listed_shown_and_checked(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    file = tmp_path / "targets/myboard.toml"
    file.write_text(TARGET.format(name="myboard"))
    assert "myboard" in edgedeploy("targets", cwd=tmp_path).out
    assert edgedeploy("targets", "show", "myboard", cwd=tmp_path).out.startswith(f"# {file}\n")
    assert edgedeploy("targets", "check", "targets/myboard.toml", cwd=tmp_path).out == (
        "targets/myboard.toml: fine; 1 lanes, 0 sources\n"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (TARGET.format(name="other"), "the name has to be that of the file, 'mine'"),
        (TARGET.format(name="mine") + 'trasport = "x"\n', "unknown key 'trasport'"),
        (TARGET.format(name="mine") + "[soc]\nmemory_bytes = 8\n", "a fact without a source"),
        ("name = [", "not valid TOML"),
    ],
)
def test_targets_check_names_file_and_key(
    text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    code, out, err = inside(monkeypatch, capsys, "targets", "check", str(file))
    assert (code, out) == (2, "")
    assert complaint in err
    assert str(file) in err


def test_targets_check_of_a_file_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (tmp_path / "gone.toml", tmp_path):
        code, _, err = inside(monkeypatch, capsys, "targets", "check", str(place))
        assert code == 2
        assert str(place) in err


@pytest.mark.parametrize("kind", ["project", "lab", "target", "push"])
def test_schema_prints_a_schema(kind: str) -> None:
    shown = CliRunner().invoke(cli.cli, ["schema", kind])
    assert shown.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(shown.output))
