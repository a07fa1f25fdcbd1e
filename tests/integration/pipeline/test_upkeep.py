"""Releases, rollback, verify, clean and leases from the command line, over a real adbd and a real sshd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.pipeline.command import Run
from integration.pipeline.test_real_transports import PIXEL, board_keys, write_lab
from standins.adb_server import AdbServer
from standins.board import SshBoard
from standins.phone import Phone, PhoneIdentity

from edgedeploy import registry
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile

pytestmark = pytest.mark.standin
WORKDIR = "/data/local/tmp/edgedeploy"
PROJECT = 'name = "small"\n[models.net]\nsource = "model.py:net"\n[[deploy]]\nmodel = "net"\ntargets = ["pixel8"]\n'
MODEL = "models/net/fp32/executorch-xnnpack-fp32/model.pte"


def release(phone: Phone, folder: Path, content: bytes) -> None:
    """One more on a phone, of one model."""
    make_release(Device(name=phone.address, transport="adb", address=phone.address), WORKDIR, folder, content)


def make_release(device: Device, workdir: str, folder: Path, content: bytes) -> None:
    file = folder / "model.pte"
    file.write_bytes(content)
    entry = FileEntry(path=MODEL, sha256=file_sha256(file), size_bytes=len(content))
    connection = registry.transport(device.transport).connect(device)
    try:
        store = Store(connection, device=device.name, workdir=workdir, project="small")
        store.receive(LocalFile(local=str(file), entry=entry), progress=lambda _count: None)
        store.activate(Manifest(schema=MANIFEST_SCHEMA, project="small", files=(entry,)))
    finally:
        connection.close()


def board_device(board: SshBoard) -> Device:
    """As lab.toml has it; its host key has to be known."""
    key = str(board.identity_file)
    return Device(name="desk", transport="ssh", address=board.host, port=board.port, user=board.user, key=key)


def by_device(document: dict[str, Any]) -> dict[str, Any]:
    return {outcome["device"]: outcome for outcome in document["devices"]}


def test_two_phones_at_once_and_one_of_them_in_use(
    run: Run, tmp_path: Path, phone_factory: Callable[..., Phone], adb_server: AdbServer
) -> None:
    (tmp_path / "edgedeploy.toml").write_text(PROJECT)
    phones = [phone_factory(identity=PhoneIdentity(**{**vars(PIXEL), "serialno": f"SHIBA{number}"})) for number in (1, 2)]
    one, two = (phone.address for phone in phones)

    def call(*words: str, code: int = 0, **env: str) -> dict[str, Any]:
        done = run(*words, "--target", "pixel8", "--json", cwd=tmp_path, **env)
        assert done.exit_code == code, done.stdout + done.stderr
        return by_device(done.document)

    for phone in phones:
        for content in (b"first", b"second", b"third" * 100_000):
            release(phone, tmp_path, content)
    for outcome in call("releases").values():
        (project,) = outcome["found"]["projects"]
        assert [(facts["number"], facts["whole"]) for facts in project["releases"]] == [(3, True), (2, True), (1, True)]
    taken = call("lease", "take", "--device", two, "--for", "2m", "--purpose", "looking")
    token = taken[two]["found"]["token"]

    rolled = call("rollback", code=5)
    assert (rolled[one]["found"]["from_release"], rolled[one]["found"]["to_release"]) == (3, 2)
    assert rolled[two]["error"]["kind"] == "DeviceBusyError"
    print(f"\nrollback over adb: {rolled[one]['found']['seconds']:.3f} s")  # noqa: T201 - a figure
    assert call("lease", "list")[two]["found"]["purpose"] == "looking"
    assert call("rollback", "--device", two, "--to", "1", EDGEDEPLOY_LEASE=token)[two]["found"]["to_release"] == 1
    call("lease", "release", "--device", two, EDGEDEPLOY_LEASE=token)

    shell = ("-s", two, "shell")
    blob = adb_server.run(*shell, f"readlink -f {WORKDIR}/projects/small/current/{MODEL}").stdout.decode().strip()
    adb_server.run(*shell, f"chmod 755 {blob}; printf F | dd of={blob} conv=notrunc")
    found = call("verify", code=6)
    assert found[one]["found"]["bad"] == []
    (bad,) = found[two]["found"]["bad"]
    assert (bad["what"], bad["removed"], bad["paths"]) == ("damaged", True, [f"1/{MODEL}"])

    cleaned = call("clean")
    assert cleaned[one]["found"]["releases"] == [{"project": "small", "number": 1}]
    assert cleaned[two]["found"]["freed_bytes"] == len(b"second")
    assert call("clean", "--all")[one]["found"]["freed_bytes"] == len(b"second") + 500_000
    assert adb_server.run("-s", one, "shell", f"ls {WORKDIR}/blobs {WORKDIR}/projects").stdout.decode().split() == [
        f"{WORKDIR}/blobs:",
        f"{WORKDIR}/projects:",
    ]


@pytest.mark.sdk
def test_damage_on_a_board_is_healed_by_a_push(run: Run, project: Path, ssh_board: SshBoard, tmp_path: Path) -> None:
    write_lab(project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))

    def call(*words: str, code: int = 0) -> Any:
        done = run(*words, "--target", "linux-x86_64", "--device", "desk", "--json", cwd=project)
        assert done.exit_code == code, done.stdout + done.stderr
        return done.document

    (pushed,) = call("push", "--no-measure")["runs"]
    checked = by_device(call("verify"))["desk"]["found"]
    assert (checked["bad"], checked["release"]) == ([], 1)
    sha, size_bytes = pushed["artifact"]["sha256"], pushed["artifact"]["size_bytes"]
    spoil = f"cd .local/share/edgedeploy/blobs && chmod 755 {sha} && printf X | dd of={sha} bs=1 seek=100 conv=notrunc"
    subprocess.run(ssh_board.ssh_argv("sh", "-c", spoil), check=True, capture_output=True, timeout=30)
    (bad,) = by_device(call("verify", code=6))["desk"]["found"]["bad"]
    assert bad["sha256"] == sha
    assert call("push", "--no-measure")["runs"][0]["push"]["bytes_sent"] == size_bytes
    assert by_device(call("verify", "--all"))["desk"]["found"]["bad"] == []
    make_release(board_device(ssh_board), "~/.local/share/edgedeploy", tmp_path, b"a later one")
    rolled = by_device(call("rollback"))["desk"]["found"]
    assert (rolled["from_release"], rolled["to_release"]) == (2, 1)
    print(f"\nrollback over ssh: {rolled['seconds']:.3f} s")  # noqa: T201 - a figure
    # The same from a bundle, where there is no project.
    run("export", "--target", "linux-x86_64", "-o", str(tmp_path / "dist"), cwd=project)
    (tmp_path / "lab.toml").write_text((project / "lab.toml").read_text())
    done = run("releases", "--bundle", "dist", "--device", "desk", "--json", cwd=tmp_path)
    assert done.exit_code == 0, done.stderr
    (listed,) = by_device(done.document)["desk"]["found"]["projects"]
    assert [facts["current"] for facts in listed["releases"]] == [False, True]
    assert (listed["project"], listed["releases"][1]["models"]) == ("small", ["net/fp32/executorch-xnnpack-fp32"])
