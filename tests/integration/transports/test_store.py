"""The store's scripts on real devices' shells: mksh with toybox behind a real adbd, this machine's behind a real sshd."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.transports.rig import Rig, phone_device
from standins.build_cache import cache_dir
from standins.phone import WORKDIR, Phone

from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import LocalFile
from edgedeploy.errors import DeviceBusyError, DeviceLostError
from edgedeploy.runners.device_helper import device_helper
from edgedeploy.transports.adb import AdbTransport

MIB = 1 << 20


def local(path: Path, content: bytes) -> LocalFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return local_file(path)


def local_file(path: Path) -> LocalFile:
    (entry,) = entries_of(path)
    return LocalFile(local=str(path), entry=entry)


def store(rig: Rig, tmp_path: Path) -> Store:
    chunks = ChunkMaps(tmp_path / "chunks")
    return Store(rig.connection, device=rig.kind, workdir=f"{rig.folder}/ed ge", project="demo", chunks=chunks)


def release(*files: LocalFile) -> Manifest:
    return Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(file.entry for file in files))


@pytest.mark.parametrize("helped", [False, True], ids=["shell", "helper"])
def test_versions_come_by_what_changed_and_go_back(rig: Rig, tmp_path: Path, *, helped: bool) -> None:
    old = random.Random(1).randbytes(9 * MIB)
    new = old[: 4 * MIB] + bytes(12_344) + old[4 * MIB : 8 * MIB]
    first, second = local(tmp_path / "1/model.pte", old), local(tmp_path / "2/model.pte", new)
    device = store(rig, tmp_path)
    assert device.seen.runs_programs
    if helped:
        helper = device_helper("host", cache_dir=cache_dir() / "runners", emit=print)
        device.install_helper(local_file(helper))
    assert device.receive(first, progress=lambda _count: None).chunks_reused == 0
    assert device.activate(release(first)) == 1
    device.reopen()
    sent: list[int] = []
    assert device.receive(second, progress=sent.append).chunks_reused > 50
    assert sum(sent) < MIB
    assert device.damaged([second.entry]) == frozenset()
    assert device.activate(release(second)) == 2
    device.reopen()
    assert (device.project.current, device.project.previous) == (2, 1)
    assert device.roll_back() == 1
    rig.connection.fetch(f"{device.release_dir(1)}/model.pte", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == old
    device.reopen()
    assert device.project.whole == {1, 2}
    device.remove(["projects"])
    cleared = device.clear_away(3)
    assert cleared.freed_bytes == 0  # as it was seen before
    device.reopen()
    assert device.clear_away(3).freed_bytes == len(old) + len(new)


def test_a_cut_is_gone_on_with_by_a_new_process(rig: Rig, tmp_path: Path) -> None:
    if rig.pull_cable is None:
        pytest.skip("this machine has no cable")
    content = os.urandom(24 * MIB)
    file = local(tmp_path / "model.pte", content)
    device = store(rig, tmp_path)
    rig.pull_cable(after_bytes=10 * MIB)
    with pytest.raises(DeviceLostError):
        device.receive(file, progress=lambda _count: None)
    rig.plug_cable()
    again = rig.transport.connect(rig.device)
    resumed = Store(again, device=rig.kind, workdir=f"{rig.folder}/ed ge", project="demo")
    there = resumed.seen.parts[file.entry.sha256]
    assert 5 * MIB < there < 11 * MIB
    sent: list[int] = []
    received = resumed.receive(file, progress=sent.append)
    assert there - MIB < received.resumed_from <= there
    assert sum(sent) == len(content) - received.resumed_from
    assert resumed.damaged([file.entry]) == frozenset()
    again.close()


def test_small_files_come_many_in_one_go(rig: Rig, tmp_path: Path) -> None:
    files = [local(tmp_path / f"{number}/f", random.Random(number).randbytes(number * 37)) for number in range(50)]
    device = store(rig, tmp_path)
    shas = {file.entry.sha256 for file in files}
    for helped in (False, True):
        if helped:
            helper = device_helper("host", cache_dir=cache_dir() / "runners", emit=print)
            device.install_helper(local_file(helper))
        assert device.receive_small(files, progress=lambda _count: None) == shas
        device.reopen()
        assert device.seen.blobs.keys() == shas
        assert device.seen.incoming == ()
        assert device.damaged([file.entry for file in files]) == frozenset()
        device.remove([f"blobs/{sha}" for sha in shas])


def test_leases_on_a_devices_own_shell(rig: Rig) -> None:
    leases = Leases(DeviceShell(rig.connection, rig.kind), f"{rig.folder}/ed ge")
    number = leases.take(token="a", owner="it's me", purpose="*", waiting=lambda _holder: None)
    with pytest.raises(DeviceBusyError, match="it's me"):
        leases.take(token="b", owner="you", purpose="x", waiting=lambda _holder: None)
    leases.renew(number, token="a", owner="it's me", purpose="*")
    holder = leases.holder()
    assert holder is not None
    assert 0 < holder.left_s <= 60
    assert leases.release("a")
    assert leases.take(token="b", owner="you", purpose="x", waiting=lambda _holder: None) == number + 1


def test_a_phone_that_starts_no_programs_says_so(phone_factory: Callable[..., Phone]) -> None:
    connection = AdbTransport().connect(phone_device(phone_factory(data_noexec=True)))
    device = Store(connection, device="phone", workdir=f"{WORKDIR}/edgedeploy", project="demo")
    assert not device.seen.runs_programs


def test_one_release_after_the_other_and_back(rig: Rig, tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two", "three"), start=1):
        device, file = store(rig, tmp_path), local(tmp_path / name, name.encode())
        device.receive(file, progress=lambda _count: None)
        assert device.activate(release(file)) == number
        there = rig.connection.run(["ls", f"{device.root}/projects/demo/current/"], timeout_s=30)
        assert there.stdout.split() == sorted([name.encode(), b"manifest.json"])
    device = store(rig, tmp_path)
    assert (device.project.current, device.project.previous) == (3, 2)
    assert device.roll_back() == 2
    device.reopen()
    assert (device.project.current, device.project.previous) == (2, 3)
    assert device.roll_back(1) == 1
    names = rig.connection.run(["ls", "-A", f"{device.root}/projects/demo"], timeout_s=30).stdout.split()
    assert names == [b"current", b"previous", b"releases"]
