"""The verbs between pushes on the command line, on this machine as the device: what is printed, exit codes, documents."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result
from unit.deploy.test_store import local

from edgedeploy import cli
from edgedeploy.cli.schema import schema as schema_verb
from edgedeploy.config.schema import KINDS, schema_of
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.manifest import Manifest
from edgedeploy.transports.local import LocalConnection

PROJECT = 'name = "p"\n[models.net]\nsource = "m.py:net"\n[[deploy]]\nmodel = "net"\ntargets = ["this-machine"]\n'
LAB = '[devices.desk]\ntarget = "this-machine"\nworkdir = "{workdir}"\n'


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a project's two releases; the current folder is the project."""
    (tmp_path / "edgedeploy.toml").write_text(PROJECT)
    (tmp_path / "lab.toml").write_text(LAB.format(workdir=tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEDEPLOY_LEASE", raising=False)
    for content in (b"one", b"twofold"):
        file = local(tmp_path / "src", "models/net/fp32/xnn/model.pte", content)
        store = Store(LocalConnection("desk"), device="desk", workdir=str(tmp_path / "store"), project="p")
        store.receive(file, progress=lambda _count: None)
        store.activate(Manifest(schema=MANIFEST_SCHEMA, project="p", files=(file.entry,), pushed_by="ann[red]@desk"))
    return tmp_path / "store"


def call(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(cli.cli, [*arguments, "--target", "this-machine", "--device", "desk"])
    assert done.exit_code == code, done.output + repr(done.exception)
    return done


def document(*arguments: str, code: int = 0) -> dict:
    found = json.loads(call(*arguments, "--json", code=code).stdout)
    jsonschema.validate(found, json.loads(schema_of(arguments[0])))
    assert found["schema"] == f"edgedeploy.{arguments[0]}/1"
    (outcome,) = found["devices"]
    assert outcome["device"] == "desk"
    return outcome


def test_releases(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = call("releases").stdout
    assert "desk  p release 2  current\n  – by ann[red]@desk, 1 file, 7 B\n  net/fp32/xnn\n" in narrow
    monkeypatch.setenv("COLUMNS", "160")
    shown = call("releases").stdout
    lines = [line.split() for line in shown.splitlines() if line.startswith("desk ")]
    assert [(line[2], line[-1]) for line in lines] == [("2", "current"), ("1", "previous")]
    assert "net/fp32/xnn" in shown
    assert "10 B stored" in shown
    assert [facts["number"] for facts in document("releases")["found"]["projects"][0]["releases"]] == [2, 1]


def test_rollback(workdir: Path) -> None:
    assert "desk: release 2 → 1: not done, a dry run" in call("rollback", "--dry-run").stdout
    assert document("rollback")["found"]["to_release"] == 1
    assert "release 1 is the current one already" in call("rollback", "--to", "1").stdout
    done = call("rollback", "--to", "7", code=2)
    assert "there is no release 7" in done.stdout
    assert "seen: on the device: 1, 2" in done.stdout


def test_verify(workdir: Path) -> None:
    assert "sound" in call("verify", "--all").stdout
    blob = (workdir / "projects/p/current/models/net/fp32/xnn/model.pte").resolve()
    blob.chmod(0o755)
    blob.write_bytes(b"twofolk")
    kept = call("verify", "--dry-run", code=6).stdout
    assert "damaged: 2/models/net/fp32/xnn/model.pte" in kept
    assert "without --dry-run" in kept
    assert document("verify", code=6)["found"]["bad"][0]["removed"]
    gone = call("verify", code=6).stdout
    assert "missing: 2/models/net/fp32/xnn/model.pte" in gone
    assert "push again" in gone
    assert "not whole" in call("releases").stdout


def test_clean(workdir: Path) -> None:
    assert "0 releases, 0 files" in call("clean", "--dry-run").stdout
    refused = CliRunner().invoke(cli.cli, ["clean", "--target", "this-machine", "--keep", "2", "--all"])
    assert "--keep does not go with --all" in str(refused.exception)
    assert document("clean", "--all")["found"]["freed_bytes"] == 10
    assert list((workdir / "blobs").iterdir()) == []
    assert "no releases" in call("releases").stdout


def test_lease(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "desk: free" in call("lease", "list").stdout
    taken = call("lease", "take", "--for", "90s", "--purpose", "a look")
    assert "desk: taken for 1 min 30 s" in taken.stderr
    export, token = taken.stdout.strip().split("=")
    assert export == "export EDGEDEPLOY_LEASE"
    assert "a look, 1 min" in call("lease", "list").stdout
    busy = call("rollback", code=5)
    assert "DeviceBusyError" in busy.stdout
    assert "a retry may help" in busy.stdout
    refused = CliRunner().invoke(cli.cli, ["lease", "release", "--target", "this-machine"])
    assert "no lease of yours is known" in str(refused.exception)
    monkeypatch.setenv("EDGEDEPLOY_LEASE", token)
    call("rollback")
    assert "released; it was" in call("lease", "release").stdout
    assert json.loads(call("lease", "list", "--json").stdout)["devices"][0]["found"]["state"] == "free"


def test_leases_need_no_project(workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgedeploy.toml").unlink()
    assert "desk: free" in call("lease", "list").stdout
    refused = CliRunner().invoke(cli.cli, ["releases", "--target", "this-machine"])
    assert "no edgedeploy.toml here" in str(refused.exception)


@pytest.mark.parametrize("time", ["", "0m", "30", "-1m", "1d", "1h30m"])
def test_what_is_no_duration(time: str) -> None:
    done = CliRunner().invoke(cli.cli, ["lease", "take", "--target", "this-machine", "--for", time])
    assert done.exit_code == 2
    assert "write 90s, 30m or 2h" in done.output


@pytest.mark.parametrize("verb", [["releases"], ["rollback"], ["verify"], ["clean"], ["lease", "list"]])
def test_no_target(verb: list[str]) -> None:
    refused = CliRunner().invoke(cli.cli, verb)
    assert "add --target NAME" in str(refused.exception)


def test_the_schema_verb_offers_every_kind() -> None:
    (argument,) = schema_verb.params
    assert list(argument.type.choices) == list(KINDS)  # type: ignore[attr-defined]
