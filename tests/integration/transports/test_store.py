"""The store on every kind of device, by its own shell and tools: releases, the way back, leases."""

from __future__ import annotations

from pathlib import Path

from integration.transports.rig import Rig

from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.release import LocalFile, Manifest


def _file(folder: Path, name: str) -> LocalFile:
    (folder / name).write_text(name, encoding="ascii")
    (entry,) = entries_of(folder / name)
    return LocalFile(local=str(folder / name), entry=entry)


def _store(rig: Rig) -> Store:
    return Store(rig.connection, device=rig.device.name, workdir=f"{rig.folder}/store", project="demo")


def test_one_release_after_the_other_and_back(rig: Rig, tmp_path: Path) -> None:
    files = [_file(tmp_path, name) for name in ("one", "two", "three")]
    for number, file in enumerate(files, start=1):
        store = _store(rig)
        store.receive(file, progress=lambda _count: None)
        assert store.activate(Manifest(schema=MANIFEST_SCHEMA, project="demo", files=(file.entry,))) == number
        there = rig.connection.run(["ls", f"{store.root}/projects/demo/current/"], timeout_s=30)
        assert there.stdout.split() == sorted([file.entry.path.encode(), b"manifest.json"])
    store = _store(rig)
    assert (store.project.current, store.project.previous) == (3, 2)
    assert store.roll_back() == 2
    store = _store(rig)
    assert (store.project.current, store.project.previous) == (2, 3)
    assert store.roll_back(1) == 1
    assert _store(rig).project.current == 1
    names = rig.connection.run(["ls", "-A", f"{store.root}/projects/demo"], timeout_s=30).stdout.split()
    assert names == [b"current", b"previous", b"releases"]


def test_a_lease_is_taken_renewed_and_given_back(rig: Rig) -> None:
    leases = Leases(DeviceShell(rig.connection, rig.device.name), f"{rig.folder}/store")
    for _ in range(2):
        number = leases.take(token="a", owner="me", purpose="test", waiting=lambda _holder: None)
        leases.renew(number, token="a", owner="me", purpose="test")
        assert leases.release("a")
        assert leases.holder() is None
