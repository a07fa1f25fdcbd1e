"""The main job on an iPhone behind a Mac that is reached over SSH, from the command line.

Stand-ins: the Mac is this machine with a real sshd; Xcode's ``xcrun devicectl`` is a script, the phone a folder, and our app a script
that lays out releases and hashes blobs for real, and has no Core ML: its outputs are twice the inputs, which is what this test's model
computes (tests/standins/iphone). Real: export by coremltools, the SSH transport, everything that edgedeploy does. Nobody has tried it with
a Mac or a phone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from integration.pipeline.command import Run
from integration.pipeline.test_docs import NOT_RUN, execute, lines_of
from integration.pipeline.test_real_transports import board_keys, write_lab
from integration.pipeline.test_upkeep import board_device
from standins.adb_server import AdbServer
from standins.board import SshBoard
from standins.iphone import UDID, Iphone

from edgedeploy.config.schema import schema_of
from edgedeploy.deploy.app_store import AppStore
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.deploy.store import MANIFEST_SCHEMA
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.transports.devicectl import DevicectlTransport

Call = Callable[..., tuple[int, dict[str, Any], str]]
pytestmark = pytest.mark.standin

MODEL = """\
import torch

from edgedeploy import ModelSource


class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.full((64,), 2.0))

    def forward(self, x):
        return x * self.factor


def net():
    inputs = [(torch.randn(1, 64),) for _ in range(2)]
    return ModelSource(module=Twice(), example_inputs=inputs[0], golden_inputs=inputs)
"""
PROJECT = """\
name = "twice"

[models.net]
source = "model.py:net"

[[deploy]]
model = "net"
targets = ["iphone15"]
recipes = ["fp32"]
measure = { processes = 2, warmup_iterations = 1, iterations = 5 }
"""


@pytest.fixture
def iphone(tmp_path: Path, ssh_board: SshBoard) -> Iphone:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "edgedeploy.toml").write_text(PROJECT)
    write_lab(tmp_path, "desk", "iphone15", serial=UDID, **board_keys(ssh_board, Path.home()))
    return Iphone(ssh_board.home_outside)


@pytest.fixture
def call(run: Run, tmp_path: Path, iphone: Iphone) -> Call:
    def ask(*words: str) -> tuple[int, dict[str, Any], str]:
        done = run(*words, "--target", "iphone15", "--json", cwd=tmp_path)
        assert "Traceback" not in done.stderr
        return done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr

    return ask


def largest_blob(iphone: Iphone) -> Path:
    return max((iphone.files / "blobs").iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.sdk
def test_from_pytorch_to_a_verdict(call: Call, run: Run, iphone: Iphone, tmp_path: Path, adb_server: AdbServer) -> None:
    iphone.change(cut={"in": "blobs/", "after_bytes": 20})
    code, document, said = call("push")
    assert code == 0, said
    assert not iphone.pending  # a copy was cut, and gone on with: the push tries again by itself
    jsonschema.validate(document, json.loads(schema_of("push")))
    (result,) = document["runs"]
    assert result["verdict"] == {"status": "pass", "reasons": []}
    assert result["device"] == "desk"
    assert result["device_sha256"] == result["artifact"]["sha256"]
    assert result["verify"]["device"]["max_abs_error"] < 1e-6
    assert len(result["latency_ns"]["samples"]) == 10
    assert result["peak_rss_bytes"] == 20 << 20
    facts = result["environment"]["before"]
    assert (facts["os"], facts["model"], facts["thermal_status"], facts["throttled"]) == ("ios", "iPhone15,4", "nominal", False)
    assert any(" --compute-units all --model " in line for line in iphone.asked)

    code, document, _ = call("push", "--no-measure")
    assert (code, document["runs"][0]["push"]["bytes_sent"], document["runs"][0]["push"]["release"]) == (0, 0, 1)

    # A blob that is damaged is seen by the app that would have run it, and is sent again: by the page's own commands.
    blob = largest_blob(iphone)
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    execute([line for line in lines_of("docs/iphones.md") if line not in NOT_RUN], run, tmp_path)
    assert blob.read_bytes() == content


def deploy(board: SshBoard, folder: Path, content: bytes) -> int:
    """One more release, of one model."""
    file = folder / "model.bin"
    file.write_bytes(content)
    entry = FileEntry(path="models/net/fp32/lane/model.bin", sha256=file_sha256(file), size_bytes=len(content))
    device = msgspec.structs.replace(board_device(board), transport="devicectl", address=UDID, through=board.host)
    connection = DevicectlTransport().connect(device)
    try:
        store = AppStore(connection, device="desk", project="twice")
        store.receive(LocalFile(local=str(file), entry=entry), progress=lambda _count: None)
        return store.activate(Manifest(schema=MANIFEST_SCHEMA, project="twice", files=(entry,)))
    finally:
        connection.close()


def test_what_comes_after_a_push(call: Call, iphone: Iphone, ssh_board: SshBoard, tmp_path: Path) -> None:
    assert [deploy(ssh_board, tmp_path, b"1" * size) for size in (100, 90)] == [1, 2]
    code, document, said = call("releases")
    found = document["devices"][0]["found"]["projects"][0]["releases"]
    assert [(release["number"], release["current"], release["whole"]) for release in found] == [(2, True, True), (1, False, True)]
    code, document, said = call("rollback")
    assert (code, document["devices"][0]["found"]["to_release"]) == (0, 1), said
    code, document, said = call("verify")
    assert (code, document["devices"][0]["found"]["bad"]) == (0, []), said
    blob = largest_blob(iphone)
    blob.write_bytes(b"!" * blob.stat().st_size)
    code, document, said = call("verify", "--all")
    assert code != 0
    assert document["devices"][0]["found"]["bad"][0]["what"] == "damaged"
    assert not blob.exists()
    code, document, said = call("clean", "--all")
    assert code == 0, said
    assert not any(name.startswith(("blobs/", "projects/")) for name in iphone.names())


def test_a_lease_lies_on_the_mac(call: Call, iphone: Iphone, ssh_board: SshBoard) -> None:
    code, document, said = call("lease", "take", "--for", "1m")
    assert (code, document["devices"][0]["found"]["state"]) == (0, "taken"), said
    assert list((ssh_board.home_outside / ".edgedeploy" / UDID / "leases").iterdir())
    assert call("clean")[0] == 5
    assert iphone.names() == set()


@pytest.mark.parametrize(("state", "error"), [({"locked": True}, "locked"), ({"apps": []}, "app is not installed")])
def test_what_keeps_us_from_a_phone_is_said(call: Call, iphone: Iphone, state: dict[str, Any], error: str) -> None:
    iphone.change(**state)
    for verb in ("releases", "clean"):
        code, document, said = call(verb, "--device", "desk")
        assert code == 5, (verb, document, said)
        assert error in said + json.dumps(document)
