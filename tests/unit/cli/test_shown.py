"""What is shown: brackets in names, broken target files, a step summary that cannot be written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from unit.stages.bench import Bench, Unit

from edgedeploy import cli
from edgedeploy.cli import progress
from edgedeploy.cli.push import show_report
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Event, Finished, Note, Progress, Started
from edgedeploy.domain.result import PushReport
from edgedeploy.errors import DeviceUnavailableError
from edgedeploy.pipeline import Pipeline

NAMES = ["pip install 'edgedeploy[native]'", "[/x]", "[red]net", "a\\[b"]


def shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, *events: Event) -> str:
    out = io.StringIO()
    real = Console

    def console(**_: object) -> Console:
        return real(file=out, force_terminal=True, width=200, color_system=None)

    monkeypatch.setattr("rich.console.Console", console)
    with progress._bars() as sink:
        for event in events:
            sink(event)
        if isinstance(sink, progress._Bars):
            sink._bars.refresh()
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_a_note_is_shown_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"warning: {name}" in shown_on_a_terminal(monkeypatch, Note(text=name, level="warning"))


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_and_its_end_are_shown_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = shown_on_a_terminal(
        monkeypatch,
        Started(stage="export", subject=name),
        Progress(stage="export", subject=name, done=0, total=2, text=f"step {name}"),
    )
    assert name in under_way
    assert f"step {name} 1 of 2" in under_way
    assert f"end {name}" in shown_on_a_terminal(
        monkeypatch, Finished(stage="export", subject=name, cached=False, text=f"end {name}")
    )


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a target file that does not fit; the current folder is the project."""
    (tmp_path / "edgedeploy.toml").write_text(
        'name = "p"\n[models.net]\nsource = "m.py:net"\n[[deploy]]\nmodel = "net"\ntargets = ["raspberry-pi-5"]\n'
    )
    (tmp_path / "m.py").write_text("")
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets/spoilt.toml").write_text('name = "spoilt"\ncolour = 1\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path / "targets/spoilt.toml"


def call(*arguments: str) -> Result:
    done = CliRunner().invoke(cli.cli, list(arguments))
    assert done.exit_code == 0, done.output
    return done


def test_targets_shows_the_good_ones_and_names_the_broken_file(broken: Path) -> None:
    done = call("targets")
    assert "pixel8" in done.stdout
    assert "spoilt" not in done.stdout
    assert done.stderr.count("warning: ") == 1
    assert str(broken) in done.stderr
    document = json.loads(call("targets", "--json").stdout)
    assert "pixel8" in [target["name"] for target in document["targets"]]
    assert str(broken) in document["trouble"][0]


def test_devices_names_the_broken_file(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Bench(monkeypatch).transport("local").found.append(Unit(Device(name="this-machine", transport="local", state="ready")))
    done = call("devices")
    assert "this-machine" in done.stdout
    assert f"warning: {broken}: " in done.stderr
    assert str(broken) in json.loads(call("devices", "--json").stdout)["trouble"][0]


def test_a_push_to_another_target_only_tells_of_the_broken_file(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Bench(monkeypatch).transport("ssh")
    heard: list[Event] = []
    with pytest.raises(DeviceUnavailableError, match="no unit of raspberry-pi-5"):
        Pipeline.load(broken.parents[1]).push("raspberry-pi-5", sink=heard.append)
    (note,) = heard
    assert isinstance(note, Note)
    assert (note.level, str(broken) in note.text) == ("warning", True)


def test_a_summary_that_cannot_be_written_comes_after_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "gone/summary.md"))
    report = PushReport(edgedeploy="0", project="p", target="pixel8", runs=())
    for as_json in (True, False):
        show_report(report, as_json=as_json)
        out, err = capsys.readouterr()
        assert ("pixel8" if as_json else "no runs") in out
        assert err == f"warning: the step summary cannot be written: {tmp_path / 'gone/summary.md'}: No such file or directory\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    show_report(report, as_json=True)
    assert (tmp_path / "summary.md").exists()
    assert capsys.readouterr().err == ""
