"""How a command ends when it cannot end well: one document with --json, quiet pipes, signals that tidy up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgedeploy import cli
from edgedeploy.cli.output import OutputFailedError, watched
from edgedeploy.errors import UsageError

MAIN = "from edgedeploy.cli import main\nmain()"
KEYS = {"schema", "kind", "exit_code", "retryable", "what", "where", "seen", "next_step"}
WAITING = """
import sys, threading
from edgedeploy import cli
from edgedeploy.cli import targets
from edgedeploy.lab import Lab
class Slow(Lab):
    @property
    def targets(self):
        try:
            print("waiting", file=sys.stderr, flush=True)
            while True:
                threading.Event().wait(0.05)
        finally:
            print("tidied up", file=sys.stderr, flush=True)
            {after}
import edgedeploy.lab
edgedeploy.lab.Lab = Slow
cli.main()
"""
BROKEN = """
from edgedeploy import cli
from edgedeploy.lab import Lab
def broken(self):
    raise {what}
Lab.target_files = property(broken)
cli.main()
"""


def start(*arguments: str, code: str = MAIN, cwd: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd, text=True, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(cwd)}, **options,
    )  # fmt: skip


def run(*arguments: str, code: str = MAIN, cwd: Path) -> tuple[int, str, str]:
    with start(*arguments, code=code, cwd=cwd, stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def document(text: str) -> dict[str, object]:
    found = json.loads(text)
    assert set(found) == KEYS
    assert found["schema"] == "edgedeploy.error/1"
    return dict(found)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["pusch", "--json"], "no command 'pusch'"),
        (["push", "--json", "--traget", "x"], "--traget"),
        (["targets", "show", "--json"], "NAME"),
        (["history", "--limit", "0", "--json"], "0"),
        (["init", "--json"], "--json"),
    ],
)
def test_with_json_a_wrong_command_line_is_a_document(
    arguments: list[str], what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgedeploy", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    found = document(out)
    assert (ended.value.code, found["exit_code"], found["kind"], found["retryable"]) == (2, 2, "UsageError", False)
    assert what in str(found["what"])
    assert "--help" in str(found["next_step"])
    assert "Error: " in err


def test_what_comes_after_two_dashes_is_no_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["edgedeploy", "targets", "show", "--", "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out == ""


def test_with_json_a_bug_is_a_document(tmp_path: Path) -> None:
    code, out, err = run("targets", "--json", code=BROKEN.format(what='ValueError("never thought of")'), cwd=tmp_path)
    found = document(out)
    assert (code, found["exit_code"], found["kind"]) == (70, 70, "InternalError")
    assert "ValueError: never thought of" in str(found["what"])
    (report,) = tmp_path.glob("edgedeploy-bug-*.txt")
    assert str(report) in str(found["next_step"])
    assert str(report) in err


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_tidies_up_and_ends_with_a_document(number: signal.Signals, exit_code: int, tmp_path: Path) -> None:
    with start("targets", "--json", code=WAITING.format(after=""), cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == exit_code
    assert err.startswith("tidied up\n")
    found = document(out)
    assert (found["exit_code"], found["kind"]) == (exit_code, "Interrupted")
    assert str(found["what"]) in err


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    code = WAITING.format(after="threading.Event().wait(60)")
    with start("targets", code=code, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.terminate()
        assert process.stderr.readline() == "tidied up\n"
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_nohup_stays_in_force(tmp_path: Path) -> None:
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WAITING.format(after="")
    with start("targets", code=code, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(signal.SIGHUP)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("arguments", [["--help"], ["targets"], ["targets", "--json"], ["schema", "push"], ["doctor"]])
def test_a_reader_that_goes_away_ends_it_quietly(arguments: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with start(*arguments, cwd=tmp_path, stdout=writing) as process:
            _, err = process.communicate(timeout=60)
    finally:
        os.close(writing)
    assert (process.returncode, err) == (141, "")


RICH = """
from edgedeploy import cli
from edgedeploy.config import schema
def schema_of(kind):
    from rich.console import Console
    Console().print("x")
schema.schema_of = schema_of
cli.main()
"""


def test_a_reader_that_goes_away_from_a_table(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with start("schema", "push", code=RICH, cwd=tmp_path, stdout=writing) as process:
            _, err = process.communicate(timeout=60)
    finally:
        os.close(writing)
    assert (process.returncode, err) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("arguments", [["--help"], ["targets"], ["schema", "push"], ["targets", "show", "pixel8", "--json"]])
def test_an_output_that_is_full_is_told_and_no_bug(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full, start(*arguments, cwd=tmp_path, stdout=full) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == "error: the output cannot be written\n  seen: No space left on device\n"


@pytest.mark.parametrize("kind", ["BrokenPipeError(32, 'Broken pipe')", "OSError(28, 'No space left on device')"])
def test_the_same_error_from_elsewhere_is_not_blamed_on_the_output(kind: str, tmp_path: Path) -> None:
    code, _, err = run("targets", code=BROKEN.format(what=kind), cwd=tmp_path)
    assert code == 70
    assert "a bug of edgedeploy" in err


def test_only_what_the_output_raised_is_the_outputs() -> None:
    with pytest.raises(FileNotFoundError), watched():
        Path("/nowhere/at/all").read_text()
    with pytest.raises(UsageError), watched():
        raise UsageError("other")
    assert not issubclass(OutputFailedError, OSError), "click has its own idea of an OSError"


def test_the_group_still_works_in_clicks_own_runner() -> None:
    assert CliRunner().invoke(cli.cli, ["targets"]).exit_code == 0


def test_a_pipe_that_knows_ascii_only(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", RICH.replace('"x"', '"Caf\u00e9 \u2713"'), "schema", "push"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Caf? ?\n")


@pytest.mark.parametrize("arguments", [["targets"], ["doctor", "--json"]])
def test_a_user_without_a_home(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["edgedeploy", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert "set HOME" in err
    assert bool(out) == ("--json" in arguments)
