"""Releases over time on a real POSIX sh: back to an earlier one, what may go, what it holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
from unit.deploy.test_store import local, manifest, store

from edgedeploy.deploy.retention import waste
from edgedeploy.deploy.store import Store
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import LocalFile, beside, owner_of
from edgedeploy.domain.target import Name
from edgedeploy.errors import DeviceRunError, DeviceStorageError, UsageError

MIB = 1 << 20


def released(tmp_path: Path, *contents: bytes, project: str = "demo") -> tuple[Store, list[LocalFile]]:
    """One release per content, each of one file of its own."""
    files = [local(tmp_path / "src", f"{project}-{number}.pte", content) for number, content in enumerate(contents, 1)]
    for file in files:
        device = store(tmp_path / "d", project)
        device.receive(file, progress=lambda _: None)
        device.activate(Manifest(schema="edgedeploy.release/1", project=project, files=(file.entry,)))
    return store(tmp_path / "d", project), files


def numbers(tmp_path: Path, project: str = "demo") -> list[int]:
    return sorted(int(item.name) for item in (tmp_path / "d/projects" / project / "releases").iterdir())


def links(tmp_path: Path) -> tuple[str, str]:
    project = tmp_path / "d/projects/demo"
    return str((project / "current").readlink()), str((project / "previous").readlink())


def test_back_to_the_one_before_and_forth_again(tmp_path: Path) -> None:
    device, _ = released(tmp_path, b"1", b"2")
    assert device.way_back() == 1
    assert links(tmp_path) == ("releases/2", "releases/1")
    assert device.roll_back() == 1
    assert links(tmp_path) == ("releases/1", "releases/2")
    assert store(tmp_path / "d").roll_back() == 2
    assert store(tmp_path / "d").roll_back(2) == 2  # it is that one already
    assert links(tmp_path) == ("releases/2", "releases/1")


def test_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    device, _ = released(tmp_path, b"1")
    with pytest.raises(UsageError, match="no release to go back to"):
        device.roll_back()
    with pytest.raises(UsageError, match="no release 7") as caught:
        device.roll_back(7)
    assert caught.value.seen == "on the device: 1"


def test_a_release_with_a_file_gone_is_not_gone_back_to(tmp_path: Path) -> None:
    _, (first, _) = released(tmp_path, b"1", b"2")
    (tmp_path / "d/blobs" / first.entry.sha256).unlink()
    with pytest.raises(DeviceRunError, match="release 1 is not whole"):
        store(tmp_path / "d").roll_back()
    assert links(tmp_path) == ("releases/2", "releases/1")


@pytest.mark.parametrize("gone", ["demo-1.pte", "manifest.json"])
def test_a_release_without_a_link_or_its_manifest_neither(tmp_path: Path, gone: str) -> None:
    released(tmp_path, b"1", b"2")
    (tmp_path / "d/projects/demo/releases/1" / gone).unlink()
    with pytest.raises((DeviceRunError, UsageError), match="release 1"):
        store(tmp_path / "d").roll_back()
    assert links(tmp_path) == ("releases/2", "releases/1")


def test_clearing_away_keeps_the_newest_the_current_and_the_one_before(tmp_path: Path) -> None:
    device, files = released(tmp_path, *(bytes([n]) * 10 for n in range(6)))
    device.roll_back(2)
    device = store(tmp_path / "d")
    found = device.clear_away(2)
    assert found.releases == (("demo", 1), ("demo", 3), ("demo", 4))
    assert found.freed_bytes == 30
    assert numbers(tmp_path) == [2, 5, 6]
    kept = {files[number - 1].entry.sha256 for number in (2, 5, 6)}
    assert {blob.name for blob in (tmp_path / "d/blobs").iterdir()} == kept


def test_a_whole_project_goes_and_the_others_keep_what_they_share(tmp_path: Path) -> None:
    released(tmp_path, b"shared", b"own", project="other")
    device, _ = released(tmp_path, b"shared", b"mine")
    found = waste(device.seen, keep={}, parts=True, whole_project="demo")
    assert found.releases == (("demo", 1), ("demo", 2))
    assert found.freed_bytes == len(b"mine")
    device.remove(found.paths)
    assert not (tmp_path / "d/projects/demo").exists()
    other = store(tmp_path / "d", "other")
    assert other.project.whole == {1, 2}
    assert all(other.project.releases[number] <= other.seen.blobs.keys() for number in (1, 2))


def test_with_a_project_goes_what_is_its_own_beside_its_releases(tmp_path: Path) -> None:
    released(tmp_path, b"compared", project=beside("demo", "compare"))
    released(tmp_path, b"theirs", project="demo.compare")
    device, _ = released(tmp_path, b"mine")
    assert waste(device.seen, keep={"demo": 1}, parts=True).releases == ()
    device.remove(waste(device.seen, keep={}, parts=True, whole_project="demo").paths)
    assert [place.name for place in (tmp_path / "d/projects").iterdir()] == ["demo.compare"]
    assert [blob.read_bytes() for blob in (tmp_path / "d/blobs").iterdir()] == [b"theirs"]


@pytest.mark.parametrize("purpose", ["compare", "anything"])
def test_no_project_has_the_name_of_a_place_beside_another_one(purpose: str) -> None:
    place = beside("demo", purpose)
    assert owner_of(place) == "demo"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(place, Name)


def test_manifests_of_this_and_of_another_project(tmp_path: Path) -> None:
    device, files = released(tmp_path, b"1", b"2")
    _, (theirs,) = released(tmp_path, b"3", project="other")
    assert device.manifests() == {number: manifest(file) for number, file in enumerate(files, 1)}
    assert device.manifests("other")[1].files == (theirs.entry,)


def test_damage_may_be_looked_for_without_removing_it(tmp_path: Path) -> None:
    device, (file,) = released(tmp_path, b"weights")
    blob = tmp_path / "d/blobs" / file.entry.sha256
    blob.chmod(0o755)
    blob.write_bytes(b"wEights")
    assert device.damaged((file.entry,)) == {file.entry.sha256}
    assert blob.read_bytes() == b"wEights"
    assert device.damaged((file.entry,), remove=True) == {file.entry.sha256}
    assert not blob.exists()
    assert device.broken_links(manifest(file)) == {"demo-1.pte"}


def test_too_little_space_is_said_with_what_cleaning_would_free(tmp_path: Path) -> None:
    device, (_, second, _, _) = released(tmp_path, *(bytes([n]) * MIB for n in range(4)))
    part = tmp_path / "d/incoming" / f"{'a' * 64}.part"
    part.write_bytes(bytes(MIB))
    device.reopen()
    device.seen = dataclasses.replace(device.seen, free_bytes=5 * MIB)
    device.require_space(MIB)
    with pytest.raises(DeviceStorageError) as caught:
        device.require_space(3 * MIB)
    assert caught.value.seen == "`edgedeploy clean` would free 3.1 MB"  # two releases and a transfer that was cut
    assert caught.value.next_step.startswith("`edgedeploy clean`")
    with pytest.raises(DeviceStorageError) as caught:  # what is to be sent does not help when it goes
        device.require_space(4 * MIB, wanted={second.entry.sha256, "a" * 64})
    assert caught.value.seen == "`edgedeploy clean` would free 1.0 MB"
    assert caught.value.next_step.startswith("free 2.1 MB more on the device")
