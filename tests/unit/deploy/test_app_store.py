"""The store on a phone without a shell. Phone, xcrun and our app are stand-ins (tests/standins/iphone), which copy and hash for real."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standins.iphone import UDID, Iphone

from edgedeploy.deploy import app_store
from edgedeploy.deploy.app_store import AppStore
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.store import MANIFEST_SCHEMA, ReleaseMovedError
from edgedeploy.domain.device import Device
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.errors import DeviceAbsentError, DeviceRunError, DeviceStorageError, UsageError
from edgedeploy.transports.devicectl_mac import Mac
from edgedeploy.transports.devicectl_phone import PhoneConnection
from edgedeploy.transports.local import LocalConnection


@pytest.fixture
def iphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iphone:
    made = Iphone(tmp_path / "mac")
    monkeypatch.setenv("PATH", f"{made.programs}:/usr/bin:/bin")
    return made


def store(project: str = "demo") -> AppStore:
    phone = PhoneConnection(Mac(LocalConnection("this Mac"), Device(name="desk", transport="devicectl", address=UDID)))
    return AppStore(phone, device="desk", project=project)


def local(folder: Path, name: str, content: bytes) -> LocalFile:
    file = folder / name
    file.write_bytes(content)
    (entry,) = entries_of(file)
    return LocalFile(local=str(file), entry=FileEntry(path=f"m/{name}", sha256=entry.sha256, size_bytes=entry.size_bytes))


def manifest(*files: LocalFile) -> Manifest:
    return Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(file.entry for file in files))


def release(*files: LocalFile) -> int:
    device = store()
    for file in files:
        if device.missing((file.entry,)):
            device.receive(file, progress=lambda _: None)
    return device.activate(manifest(*files))


def test_a_release_is_blobs_a_manifest_and_the_name_of_a_file(iphone: Iphone, tmp_path: Path) -> None:
    one, two = local(tmp_path, "one", b"1"), local(tmp_path, "it's 模型", b"22")
    device = store()
    assert device.seen.blobs == {}
    assert device.missing((one.entry, two.entry)) == {one.entry.sha256, two.entry.sha256}
    assert release(one, two) == 1
    assert iphone.names() == {
        f"blobs/{one.entry.sha256}",
        f"blobs/{two.entry.sha256}",
        "projects/demo/releases/1/manifest.json",
        "projects/demo/current/1-1-0",
        *{name for name in iphone.names() if name.startswith("runs/")},
    }
    seen = store()
    assert seen.seen.manifest == manifest(one, two)
    assert (seen.project.current, seen.project.previous) == (1, 0)
    assert seen.missing((one.entry, two.entry)) == frozenset()
    assert release(one, two) == 1  # the same is not made twice
    assert release(one) == 2
    assert (store().project.current, store().project.previous) == (2, 1)


@pytest.mark.parametrize("place", ["blobs/", "manifest.json"])
def test_a_copy_that_is_cut_makes_no_release_current(iphone: Iphone, tmp_path: Path, place: str) -> None:
    one, two = local(tmp_path, "one", b"1" * 100), local(tmp_path, "two", b"2" * 100)
    assert release(one) == 1
    iphone.change(cut={"in": place, "after_bytes": 50})
    with pytest.raises(DeviceAbsentError):
        release(one, two)
    assert store().project.current == 1
    assert store().seen.manifest == manifest(one)
    made = release(one, two)
    assert made == (3 if place == "manifest.json" else 2)
    assert store().seen.manifest == manifest(one, two)
    store().clear_away(1)
    assert store().project.whole >= {made, 1}


def test_a_cut_at_the_switch_is_before_it_or_behind_it(iphone: Iphone, tmp_path: Path) -> None:
    one, two = local(tmp_path, "one", b"1"), local(tmp_path, "two", b"2")
    release(one)
    iphone.change(cut={"in": "current/", "after_bytes": 0})
    with pytest.raises(DeviceAbsentError):
        release(one, two)
    # The file is there, empty: its name says all, and what it leads to was whole before.
    assert store().project.current == 2
    assert store().seen.manifest == manifest(one, two)


def test_a_file_that_arrives_as_another_one_never_counts(iphone: Iphone, tmp_path: Path) -> None:
    one = local(tmp_path, "one", b"1" * 100)
    iphone.change(spoil="blobs/")
    with pytest.raises(DeviceRunError, match="did not arrive as it was sent"):
        release(one)
    assert store().project.current == 0
    assert not store().seen.blobs
    assert release(one) == 1


def test_a_blob_of_the_current_release_that_is_sent_again_is_hashed_again(iphone: Iphone, tmp_path: Path) -> None:
    one, two = local(tmp_path, "one", b"1" * 100), local(tmp_path, "two", b"2")
    release(one)
    (iphone.files / "blobs" / one.entry.sha256).write_bytes(b"short")
    iphone.change(spoil=one.entry.sha256)
    with pytest.raises(DeviceRunError, match="did not arrive"):
        release(one, two)
    assert release(one, two) == 2


def test_damage_is_found_and_removed(iphone: Iphone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_store, "_AT_ONCE", 2)
    files = [local(tmp_path, f"f{number}", bytes([number])) for number in range(3)]  # more than one start of the app takes
    release(*files)
    (iphone.files / "blobs" / files[2].entry.sha256).write_bytes(b"!")
    device = store()
    entries = [file.entry for file in files]
    assert device.damaged(entries) == {files[2].entry.sha256}
    assert device.damaged(entries, remove=True) == {files[2].entry.sha256}
    assert device.damaged([files[2].entry]) == {files[2].entry.sha256}  # gone, too
    assert files[2].entry.sha256 not in store().seen.blobs


def test_the_way_back(tmp_path: Path, iphone: Iphone) -> None:
    one, two = local(tmp_path, "one", b"1"), local(tmp_path, "two", b"2")
    release(one)
    release(two)
    assert store().roll_back() == 1
    assert (store().project.current, store().project.previous) == (1, 2)
    assert store().roll_back(2) == 2
    with pytest.raises(UsageError, match="there is no release 7"):
        store().roll_back(7)
    (iphone.files / "blobs" / one.entry.sha256).unlink()
    with pytest.raises(DeviceRunError, match="not whole"):
        store().roll_back()


def test_two_pushes_at_once(iphone: Iphone, tmp_path: Path) -> None:
    one, two = local(tmp_path, "one", b"1"), local(tmp_path, "two", b"2")
    slow = store()
    release(one)
    slow.receive(two, progress=lambda _: None)
    with pytest.raises(ReleaseMovedError):
        slow.activate(manifest(two))
    slow.reopen()
    assert slow.activate(manifest(one, two)) == 2
    late = store()
    release(one)
    with pytest.raises(ReleaseMovedError):
        late.roll_back(1)


def test_old_releases_go_and_with_them_their_blobs(iphone: Iphone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_store, "_SWITCHES_KEPT", 2)
    files = [local(tmp_path, f"f{number}", bytes([number])) for number in range(4)]
    for file in files:
        release(file)
    device = store()
    assert device.clear_away(2).releases == tuple(("demo", number) for number in range(1, 3))
    kept = {name for name in iphone.names() if not name.startswith("runs/")}
    assert {name for name in kept if name.startswith("blobs/")} == {f"blobs/{file.entry.sha256}" for file in files[-2:]}
    assert len([name for name in kept if "/current/" in name]) == 2
    assert store().project.current == 4
    before = len([line for line in iphone.asked if "--remove" in line])
    again = store()
    again.clear_away(2)
    assert (
        len([line for line in iphone.asked if "--remove" in line]) == before
    )  # nothing to remove: the app is not started for it


def test_an_app_that_was_deleted_with_all_its_files(iphone: Iphone, tmp_path: Path) -> None:
    one = local(tmp_path, "one", b"1")
    release(one)
    shutil.rmtree(iphone.files)
    assert store().project.current == 0
    assert release(one) == 1


def test_space_is_asked_for_before_anything_is_sent(iphone: Iphone) -> None:
    iphone.change(free_bytes=10 << 20)
    with pytest.raises(DeviceStorageError, match="not enough space"):
        store().require_space(20 << 20)


def test_a_manifest_that_would_leave_its_release(iphone: Iphone, tmp_path: Path) -> None:
    file = local(tmp_path, "one", b"1")
    evil = LocalFile(local=file.local, entry=FileEntry(path="../x", sha256=file.entry.sha256, size_bytes=1))
    with pytest.raises(DeviceRunError, match="could leave"):
        store().activate(manifest(evil))
