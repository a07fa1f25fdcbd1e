"""When what arrived is waited for on the device's medium, and when not. That it gets there: tests/integration/faults/test_power_loss.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.durable import flush_blobs
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.errors import CommandTimeoutError
from edgedeploy.ports import Completed
from edgedeploy.transports.local import LocalConnection


class Watched(LocalConnection):
    """Knows how often blobs were waited for; a ``busy`` medium never has them."""

    def __init__(self, *, busy: bool = False) -> None:
        super().__init__("here")
        self.busy = busy
        self.waited = 0

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        if "flush" in argv[2] and "blobs; fi" in argv[2]:
            self.waited += 1
            if self.busy:
                raise CommandTimeoutError("a command did not end")
        return super().run(argv, timeout_s=timeout_s, stdin=stdin)


def local(folder: Path, name: str) -> LocalFile:
    (folder / name).write_bytes(name.encode())
    (entry,) = entries_of(folder / name)
    return LocalFile(local=str(folder / name), entry=FileEntry(path=name, sha256=entry.sha256, size_bytes=entry.size_bytes))


def opened(connection: LocalConnection, folder: Path) -> Store:
    return Store(connection, device="here", workdir=str(folder / "d"), project="demo")


def manifest(*files: LocalFile) -> Manifest:
    return Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(file.entry for file in files))


def test_only_what_arrived_is_waited_for(tmp_path: Path) -> None:
    one, two = local(tmp_path, "one"), local(tmp_path, "two")
    connection = Watched()
    store = opened(connection, tmp_path)
    for file in (one, two):
        store.receive(file, progress=lambda _count: None)
    assert (store.activate(manifest(one, two)), connection.waited) == (1, 1)
    again = opened(connection, tmp_path)
    assert (again.activate(manifest(one, two)), connection.waited) == (1, 1)
    assert (again.activate(manifest(one)), connection.waited) == (2, 1)


def test_what_a_push_left_that_came_to_no_release_is_waited_for(tmp_path: Path) -> None:
    file = local(tmp_path, "one")
    opened(Watched(), tmp_path).receive(file, progress=lambda _count: None)
    connection = Watched()
    opened(connection, tmp_path).activate(manifest(file))
    assert connection.waited == 1


def test_a_good_file_in_the_place_of_a_damaged_one_is_waited_for(tmp_path: Path) -> None:
    file = local(tmp_path, "one")
    connection = Watched()
    store = opened(connection, tmp_path)
    store.receive(file, progress=lambda _count: None)
    store.activate(manifest(file))
    again = opened(connection, tmp_path)
    again.receive(file, progress=lambda _count: None)
    assert (again.activate(manifest(file)), connection.waited) == (1, 2)


def test_a_medium_that_is_busy_fails_no_push(tmp_path: Path) -> None:
    file = local(tmp_path, "one")
    store = opened(Watched(busy=True), tmp_path)
    store.receive(file, progress=lambda _count: None)
    assert store.activate(manifest(file)) == 1
    (complaint,) = store.complaints
    assert "not within 60 s" in complaint
    assert "edgedeploy verify" in complaint


def test_a_release_without_a_working_sync_is_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sync", "fsync"):
        (tools / tool).write_text("#!/bin/sh\necho 'Input/output error' >&2; exit 1\n", encoding="ascii")
        (tools / tool).chmod(0o755)
    file = local(tmp_path, "one")
    store = opened(LocalConnection("here"), tmp_path)
    store.receive(file, progress=lambda _count: None)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    assert store.activate(manifest(file)) == 1
    assert ["Input/output error" in complaint for complaint in store.complaints] == [True]


def test_what_went_wrong_is_told(tmp_path: Path) -> None:
    shell = DeviceShell(LocalConnection("here"), "here")
    (tmp_path / "blobs").mkdir()
    assert "No such file" in flush_blobs(shell, str(tmp_path), {"0" * 64: 1})
