"""The store on a real POSIX sh: this machine's, over the local transport."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.chunks import chunks_of
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.digest import content_sha256, entries_of
from edgedeploy.deploy.feed import FileFeed
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.packs import packs
from edgedeploy.deploy.store import MANIFEST_SCHEMA, ReleaseMovedError, Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.errors import DeviceLostError, DeviceRunError, DeviceStorageError, UsageError
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.transports.local import LocalConnection, LocalTransport

MIB = 1 << 20
HELPER = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/../asked"
case $1 in
  receive) dd of="$2" bs=1048576 seek="$(($3 / 1048576))" conv=notrunc 2>/dev/null; sha256sum < "$2" ;;
  ranges) read -r offset length; head -c "$length" < "$2" | sha256sum ;;
  hash) while read -r path; do echo "$(sha256sum < "$path" | head -c 64) 1 $path"; done ;;
esac
"""


def store(workdir: Path, project: str = "demo", chunks: ChunkMaps | None = None) -> Store:
    connection = LocalTransport().connect(Device(name="here", transport="local"))
    return Store(connection, device="here", workdir=str(workdir), project=project, chunks=chunks)


def local(folder: Path, name: str, content: bytes) -> LocalFile:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    (entry,) = entries_of(file)
    return LocalFile(local=str(file), entry=FileEntry(path=name, sha256=entry.sha256, size_bytes=entry.size_bytes))


def manifest(*files: LocalFile) -> Manifest:
    return Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(file.entry for file in files))


def test_a_file_lands_under_its_digest_and_a_release_links_to_it(tmp_path: Path) -> None:
    file = local(tmp_path / "src", "a b/it's 模型.bin", b"weights")
    device = store(tmp_path / "dev ice")
    assert device.missing((file.entry,)) == {file.entry.sha256}
    seen: list[int] = []
    device.receive(file, progress=seen.append)
    assert sum(seen) == 7
    device.reopen()
    assert device.missing((file.entry,)) == frozenset()
    assert device.activate(manifest(file)) == 1
    current = tmp_path / "dev ice/projects/demo/current"
    assert str(current.readlink()) == "releases/1"
    assert (current / "a b/it's 模型.bin").read_bytes() == b"weights"
    assert list((tmp_path / "dev ice/incoming").iterdir()) == []


def test_the_same_release_is_not_made_twice_and_another_is_numbered_on(tmp_path: Path) -> None:
    one, two = local(tmp_path, "one", b"1"), local(tmp_path, "two", b"2")
    device = store(tmp_path / "d")
    for file in (one, two):
        device.receive(file, progress=lambda _: None)
    assert device.activate(manifest(one)) == 1
    again = store(tmp_path / "d")
    assert again.seen.manifest == manifest(one)
    assert again.activate(manifest(one)) == 1
    assert again.activate(manifest(one, two)) == 2
    assert (tmp_path / "d/projects/demo/current/two").read_bytes() == b"2"
    assert (tmp_path / "d/projects/demo/releases/1/one").read_bytes() == b"1"


def test_more_than_nine_releases_count_as_numbers(tmp_path: Path) -> None:
    files = [local(tmp_path, f"f{i}", bytes([i])) for i in range(12)]
    for number, file in enumerate(files, 1):
        device = store(tmp_path / "d")
        device.receive(file, progress=lambda _: None)
        assert device.activate(manifest(file)) == number


class BadCable(LocalConnection):
    """Turns the first byte of the first ``times`` files that are sent."""

    times = 2

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        if not self.times:
            return super().pour(argv, source, quiet_s=quiet_s, progress=progress)
        self.times -= 1
        content = os.read(source.fileno(), 1 << 20)
        with tempfile.TemporaryFile() as turned:
            turned.write(bytes([content[0] ^ 1]) + content[1:])
            turned.seek(0)
            return super().pour(argv, FileFeed(turned.fileno(), 0), quiet_s=quiet_s, progress=progress)


def test_damage_on_the_way_is_found_before_the_file_counts(tmp_path: Path) -> None:
    file = local(tmp_path, "x", b"good")
    device = Store(BadCable("here"), device="here", workdir=str(tmp_path / "d"), project="demo")
    with pytest.raises(DeviceRunError, match="arrived damaged"):
        device.receive(file, progress=lambda _: None)
    device.reopen()
    assert device.missing((file.entry,)) == {file.entry.sha256}
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_what_arrives_damaged_once_is_sent_again(tmp_path: Path) -> None:
    file = local(tmp_path, "x", b"good")
    cable = BadCable("here")
    cable.times = 1
    device = Store(cable, device="here", workdir=str(tmp_path / "d"), project="demo")
    device.receive(file, progress=lambda _: None)
    device.reopen()
    assert device.missing((file.entry,)) == frozenset()


def part(tmp_path: Path, file: LocalFile, content: bytes) -> Store:
    """A store in which a transfer of the file was cut."""
    (tmp_path / "d/incoming").mkdir(parents=True)
    (tmp_path / "d/incoming" / f"{file.entry.sha256}.part").write_bytes(content)
    return store(tmp_path / "d")


@pytest.mark.parametrize("kept_bytes", [0, 5, MIB - 1, MIB, 3 * MIB + 7, 5 * MIB - 1, 5 * MIB, 5 * MIB + 123])
def test_a_cut_transfer_goes_on_at_most_a_mebibyte_before_the_cut(tmp_path: Path, kept_bytes: int) -> None:
    content = os.urandom(5 * MIB + 123)
    file = local(tmp_path / "src", "model.pte", content)
    sent: list[int] = []
    offset = part(tmp_path, file, content[:kept_bytes]).receive(file, progress=sent.append).resumed_from
    assert kept_bytes - MIB < offset <= kept_bytes
    assert sum(sent) == len(content) - offset
    assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == content


@pytest.mark.parametrize("good_bytes", [0, MIB // 2, 20 * MIB, 39 * MIB + 5])
def test_a_part_whose_end_never_reached_the_storage(tmp_path: Path, good_bytes: int) -> None:
    content = os.urandom(40 * MIB)
    file = local(tmp_path / "src", "model.pte", content)
    lost_power = content[:good_bytes] + bytes(40 * MIB - good_bytes)
    offset = part(tmp_path, file, lost_power).receive(file, progress=lambda _: None).resumed_from
    assert offset <= good_bytes
    assert offset >= good_bytes - 21 * MIB
    assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == content


def test_a_part_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    file = local(tmp_path / "src", "model.pte", b"weights")
    (tmp_path / "mine").write_bytes(b"precious")
    (tmp_path / "d/incoming").mkdir(parents=True)
    (tmp_path / "d/incoming" / f"{file.entry.sha256}.part").symlink_to(tmp_path / "mine")
    device = store(tmp_path / "d")
    device.receive(file, progress=lambda _: None)
    assert (tmp_path / "mine").read_bytes() == b"precious"
    assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == b"weights"


def test_a_blob_whose_place_a_folder_or_a_link_takes(tmp_path: Path) -> None:
    one, two = local(tmp_path / "src", "one", b"1"), local(tmp_path / "src", "two", b"2")
    (tmp_path / "d/blobs" / one.entry.sha256).mkdir(parents=True)
    (tmp_path / "d/blobs" / two.entry.sha256).symlink_to("/etc/hostname")
    device = store(tmp_path / "d")
    for file in (one, two):
        assert device.missing((file.entry,))
        device.receive(file, progress=lambda _: None)
        assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == Path(file.local).read_bytes()


def test_a_file_that_changed_here_is_not_blamed_on_the_cable(tmp_path: Path) -> None:
    file = local(tmp_path, "x", b"good")
    Path(file.local).write_bytes(b"evil")
    device = store(tmp_path / "d")
    with pytest.raises(UsageError, match="not what it was"):
        device.receive(file, progress=lambda _: None)
    assert device.missing((file.entry,)) == {file.entry.sha256}
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_a_file_that_is_gone_here_is_no_bug_of_ours(tmp_path: Path) -> None:
    file = local(tmp_path, "x", b"good")
    Path(file.local).write_bytes(b"evil")

    class Remover(LocalConnection):
        def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
            Path(file.local).unlink()
            return super().pour(argv, source, quiet_s=quiet_s, progress=progress)

    device = Store(Remover("here"), device="here", workdir=str(tmp_path / "d"), project="demo")
    with pytest.raises(UsageError, match="cannot be read"):
        device.receive(file, progress=lambda _: None)


def deployed(tmp_path: Path, content: bytes) -> tuple[Store, LocalFile, Path]:
    file = local(tmp_path, "model.pte", content)
    device = store(tmp_path / "d")
    device.receive(file, progress=lambda _: None)
    device.activate(manifest(file))
    blob = tmp_path / "d/blobs" / file.entry.sha256
    blob.chmod(0o755)
    return store(tmp_path / "d"), file, blob


def test_a_blob_that_was_cut_short_counts_as_missing(tmp_path: Path) -> None:
    device, file, blob = deployed(tmp_path, b"weights")
    blob.write_bytes(b"weig")
    device.reopen()
    assert device.missing((file.entry,)) == {file.entry.sha256}
    device.receive(file, progress=lambda _: None)
    assert blob.read_bytes() == b"weights"


def test_a_flipped_bit_is_found_by_hashing_and_removed(tmp_path: Path) -> None:
    device, file, blob = deployed(tmp_path, b"weights")
    assert device.damaged((file.entry,)) == frozenset()
    blob.write_bytes(b"weighty")
    assert device.damaged((file.entry,)) == {file.entry.sha256}
    assert blob.read_bytes() == b"weighty"  # until a good one takes its place: links to it stay good
    device.receive(file, progress=lambda _: None)
    assert blob.read_bytes() == b"weights"
    assert device.damaged((file.entry,)) == frozenset()


def test_a_link_that_was_removed_is_mended_by_a_new_release(tmp_path: Path) -> None:
    device, file, _ = deployed(tmp_path, b"weights")
    (tmp_path / "d/projects/demo/current/model.pte").unlink()
    assert device.activate(manifest(file)) == 2
    assert (tmp_path / "d/projects/demo/current/model.pte").read_bytes() == b"weights"


def test_a_manifest_that_was_removed_does_not_block_the_next_push(tmp_path: Path) -> None:
    _, file, _ = deployed(tmp_path, b"weights")
    (tmp_path / "d/projects/demo/current/manifest.json").unlink()
    assert store(tmp_path / "d").activate(manifest(file)) == 2


def test_many_at_once_never_mix_their_files_or_lose_the_switch(tmp_path: Path) -> None:
    files = [local(tmp_path, f"f{i}", bytes([i])) for i in range(8)]

    def push(file: LocalFile) -> int:
        while True:
            device = store(tmp_path / "d")
            device.receive(file, progress=lambda _: None)
            before = device.seen.manifest.files if device.seen.manifest else ()
            merged = Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(sorted({*before, file.entry})))
            try:
                return device.activate(merged)
            except ReleaseMovedError:
                continue

    with ThreadPoolExecutor(8) as pool:
        releases = list(pool.map(push, files))
    assert len(set(releases)) == 8
    for file, release in zip(files, releases, strict=True):
        assert (tmp_path / f"d/projects/demo/releases/{release}" / file.entry.path).exists()
    names = {item.name for item in (tmp_path / "d/projects/demo").iterdir()}
    assert names - {"previous"} == {"current", "releases"}  # nothing half made


def test_a_damaged_manifest_on_the_device_is_replaced(tmp_path: Path) -> None:
    file = local(tmp_path, "x", b"x")
    device = store(tmp_path / "d")
    device.receive(file, progress=lambda _: None)
    device.activate(manifest(file))
    (tmp_path / "d/projects/demo/releases/1/manifest.json").write_text('{"schema": "half')
    again = store(tmp_path / "d")
    assert again.seen.manifest is None
    assert again.activate(manifest(file)) == 2


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "new\nline", "", "a/./b", ".."])
def test_a_path_never_leaves_the_release(tmp_path: Path, path: str) -> None:
    entry = FileEntry(path=path, sha256="0" * 64, size_bytes=1)
    with pytest.raises(DeviceRunError, match="leave the release"):
        store(tmp_path / "d").activate(Manifest(schema=MANIFEST_SCHEMA, project="demo", files=(entry,)))


def test_too_little_space_is_said_before_sending(tmp_path: Path) -> None:
    with pytest.raises(DeviceStorageError, match="not enough space"):
        store(tmp_path / "d").require_space(1 << 60)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DeviceStorageError):
        store(tmp_path / "d")


def test_a_workdir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceStorageError, match="refuses us") as caught:
        store(tmp_path / "file/d")
    assert "file" in caught.value.seen


def test_scratch_folders_go_away(tmp_path: Path) -> None:
    device = store(tmp_path / "d")
    with device.scratch() as folder:
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_home_is_expanded_on_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    device = store(Path("~/under/home"))
    assert device.root == str((tmp_path / "under/home").resolve())


def test_the_digest_of_a_folder_is_over_its_listing(tmp_path: Path) -> None:
    import hashlib

    local(tmp_path / "m.mlpackage", "b", b"2")
    local(tmp_path / "m.mlpackage", "a/c", b"1")
    entries = entries_of(tmp_path / "m.mlpackage")
    lines = [f"{hashlib.sha256(c).hexdigest()}  {p}\n" for p, c in (("a/c", b"1"), ("b", b"2"))]
    assert content_sha256(entries, "m.mlpackage") == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_device_helper_is_put_there_and_used(tmp_path: Path) -> None:
    """A script in its place: it says what it was asked, and does it."""
    helper = local(tmp_path / "src", "edgedeploy-device", HELPER.encode())
    content = os.urandom(3 * MIB + 5)
    file = local(tmp_path / "src", "model.pte", content)
    device = part(tmp_path, file, content[: 2 * MIB + 7])
    device.install_helper(helper)
    assert device.receive(file, progress=lambda _: None).resumed_from == 2 * MIB
    assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == content
    assert device.damaged((file.entry,)) == frozenset()
    assert (tmp_path / "d/asked").read_text().split("\n")[:-1] == [
        "version",
        f"ranges {file.entry.sha256}.part",
        f"receive incoming/{file.entry.sha256}.part {2 * MIB} --size {len(content)}",
        "hash",
    ]
    again = store(tmp_path / "d")
    again.install_helper(helper)
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_a_helper_that_does_not_run_there_is_done_without(tmp_path: Path) -> None:
    helper = local(tmp_path / "src", "edgedeploy-device", b"\x7fELF of another processor")
    file = local(tmp_path / "src", "model.pte", b"weights")
    device = store(tmp_path / "d")
    device.install_helper(helper)
    device.receive(file, progress=lambda _: None)
    assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == b"weights"


def versions(tmp_path: Path) -> tuple[Store, LocalFile, LocalFile, bytes]:
    """A store that has the first version of a large file, and the second one with something put in and something replaced."""
    old = random.Random(1).randbytes(12 * MIB)
    new = old[: 2 * MIB] + b"inserted" * 3 + old[2 * MIB : 7 * MIB] + random.Random(2).randbytes(100_000) + old[7 * MIB :]
    first, second = local(tmp_path / "1", "model.pte", old), local(tmp_path / "2", "model.pte", new)
    device = store(tmp_path / "d", chunks=ChunkMaps(tmp_path / "maps"))
    assert device.receive(first, progress=lambda _: None).chunks_reused == 0
    device.activate(manifest(first))
    return store(tmp_path / "d", chunks=ChunkMaps(tmp_path / "maps")), first, second, new


def test_a_new_version_sends_what_changed(tmp_path: Path) -> None:
    device, _, second, new = versions(tmp_path)
    sent: list[int] = []
    received = device.receive(second, progress=sent.append)
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == new
    assert received.chunks_reused > 100
    assert sum(sent) < 1.2 * MIB
    assert len(list((tmp_path / "d/blobs").iterdir())) == 2
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_what_was_begun_whole_goes_when_it_was_put_together_from_changes(tmp_path: Path) -> None:
    _, _, second, new = versions(tmp_path)
    (tmp_path / "d/incoming" / f"{second.entry.sha256}.part").write_bytes(new[: 3 * MIB])
    device = store(tmp_path / "d", chunks=ChunkMaps(tmp_path / "maps"))
    assert device.receive(second, progress=lambda _count: None).chunks_reused > 100
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_what_pushes_left_that_died_in_the_switch_is_cleared_away(tmp_path: Path) -> None:
    _, file, _ = deployed(tmp_path, b"weights")
    home = tmp_path / "d/projects/demo"
    (home / ".new.123").mkdir()
    (home / ".new.123/current").symlink_to("releases/7")
    (home / "current.77").symlink_to("releases/1")  # by an older version of ours
    (home / "notes").write_text("of somebody else")
    again = store(tmp_path / "d")
    again.activate(manifest(file))
    again.clear_away(3)
    assert {path.name for path in home.iterdir()} == {"current", "releases", "notes"}
    assert {path.name for path in (home / "releases").iterdir()} == {"1"}


@pytest.mark.parametrize("text", ["releases/99", "/etc", "garbage", "releases/", "../../escaped"])
def test_a_current_that_leads_nowhere_is_set_right(tmp_path: Path, text: str) -> None:
    _, file, _ = deployed(tmp_path, b"weights")
    home = tmp_path / "d/projects/demo"
    (home / "current").unlink()
    (home / "current").symlink_to(text)
    assert store(tmp_path / "d").activate(manifest(file)) == 2
    assert str((home / "current").readlink()) == "releases/2"
    assert not (home / "previous").is_symlink()


def test_a_link_to_another_file_is_mended_by_a_new_release(tmp_path: Path) -> None:
    device, file, _ = deployed(tmp_path, b"weights")
    other = local(tmp_path, "other", b"other")
    device.receive(other, progress=lambda _count: None)
    link = tmp_path / "d/projects/demo/current/model.pte"
    link.unlink()
    link.symlink_to(tmp_path / "d/blobs" / other.entry.sha256)
    again = store(tmp_path / "d")
    assert again.activate(manifest(file)) == 2
    assert again.complaints == ["links of release 1 were damaged: it is made anew"]
    assert (tmp_path / "d/projects/demo/current/model.pte").read_bytes() == b"weights"


def test_another_version_of_the_helper_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    old, new = (local(tmp_path / name, "edgedeploy-device", f"{HELPER}# {name}\n".encode()) for name in ("1", "2"))
    broken = local(tmp_path / "broken", "edgedeploy-device", b"\x7fELF of another processor")
    device = store(tmp_path / "d")
    assert device.install_helper(old)
    assert device.install_helper(new)
    assert [path.name for path in (tmp_path / "d/tools").iterdir()] == [new.entry.sha256]
    again = store(tmp_path / "d")
    assert not again.install_helper(broken)
    assert again.use_installed_helper()
    assert new.entry.sha256 in {path.name for path in (tmp_path / "d/tools").iterdir()}


@pytest.mark.parametrize("content", [b"", b"garbage", b"#!/bin/sh\necho edgedeploy-device 1\n", HELPER[:-9].encode()])
def test_a_damaged_helper_is_sent_again(tmp_path: Path, content: bytes) -> None:
    helper = local(tmp_path / "src", "edgedeploy-device", HELPER.encode())
    store(tmp_path / "d").install_helper(helper)
    tool = tmp_path / "d/tools" / helper.entry.sha256
    tool.unlink()
    tool.write_bytes(content)
    tool.chmod(0o555)
    (tmp_path / "d/tools/garbage").mkdir()
    device = store(tmp_path / "d")
    assert not device.use_helper(helper.entry.sha256)
    assert device.complaints == ["the device helper was damaged there, and is removed"]
    assert not tool.exists()
    device.install_helper(helper)
    assert tool.read_bytes() == HELPER.encode()
    device.clear_away(1)
    assert [path.name for path in (tmp_path / "d/tools").iterdir()] == [helper.entry.sha256]


def test_a_release_whose_manifest_was_never_written_is_none(tmp_path: Path) -> None:
    class Dying(LocalConnection):
        """The device loses power while the manifest is written."""

        def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
            words = [word.replace("cat > ", "kill -s KILL $$ > ") for word in argv]
            return super().run(words, timeout_s=timeout_s, stdin=stdin)

    deployed(tmp_path, b"weights")
    file = local(tmp_path, "other", b"other")
    device = Store(Dying("here"), device="here", workdir=str(tmp_path / "d"), project="demo")
    device.receive(file, progress=lambda _count: None)
    with pytest.raises(DeviceRunError):
        device.activate(manifest(file))
    again = store(tmp_path / "d")
    assert (again.project.current, again.project.whole) == (1, {1})
    again.clear_away(3)
    assert [path.name for path in (tmp_path / "d/projects/demo/releases").iterdir()] == ["1"]


def test_files_where_folders_belong_make_way(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("blobs", "incoming", "runs", "tools", "leases"):
        (tmp_path / "d" / name).write_text("in the way")
    file = local(tmp_path, "x", b"x")
    leases = Leases(DeviceShell(LocalConnection("here"), "here"), str(tmp_path / "d"))
    assert leases.take(token="a", owner="me", purpose="test", waiting=lambda _holder: None) == 1
    device = store(tmp_path / "d")
    device.receive(file, progress=lambda _count: None)
    assert device.activate(manifest(file)) == 1


def test_a_folder_where_changes_are_put_together_makes_way(tmp_path: Path) -> None:
    device, _, second, _ = versions(tmp_path)
    (tmp_path / "d/incoming" / f"{second.entry.sha256}.whole/inside").mkdir(parents=True)
    assert device.receive(second, progress=lambda _count: None).chunks_reused > 100
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_a_way_back_that_died_half_way_is_gone_all_the_same(tmp_path: Path) -> None:
    files = [local(tmp_path, name, name.encode()) for name in ("one", "two")]
    for file in files:
        device = store(tmp_path / "d")
        device.receive(file, progress=lambda _count: None)
        device.activate(manifest(file))
    previous = tmp_path / "d/projects/demo/previous"
    previous.unlink()
    previous.symlink_to("releases/2")  # and current has not been switched
    device = store(tmp_path / "d")
    assert (device.project.current, device.project.previous) == (2, 2)
    assert device.roll_back() == 1
    assert store(tmp_path / "d").project.current == 1


def test_a_delta_from_a_damaged_file_is_given_up_and_the_damage_removed(tmp_path: Path) -> None:
    device, first, second, new = versions(tmp_path)
    blob = tmp_path / "d/blobs" / first.entry.sha256
    blob.chmod(0o755)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    sent: list[int] = []
    assert device.receive(second, progress=sent.append).chunks_reused == 0
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == new
    assert device.complaints == ["damaged files were removed (1); what needs them is sent again when it is pushed"]
    assert not blob.exists()


def test_a_delta_with_dd_that_knows_only_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dd").write_text('#!/bin/sh\ncase "$*" in *iflag*) exit 1 ;; esac\nexec /bin/dd "$@"\n')
    (tools / "dd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    device, _, second, new = versions(tmp_path)
    assert device.receive(second, progress=lambda _: None).chunks_reused > 100
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == new


def test_room_for_a_delta_is_what_files_before_it_have_left(tmp_path: Path) -> None:
    device, _, second, new = versions(tmp_path)
    other = local(tmp_path / "3", "other", random.Random(3).randbytes(2 * MIB))
    to_send_bytes = second.entry.size_bytes + other.entry.size_bytes
    device.seen = replace(device.seen, free_bytes=to_send_bytes + 4 * MIB)
    device.require_space(to_send_bytes)
    device.receive(other, progress=lambda _: None)
    assert device.receive(second, progress=lambda _: None).chunks_reused == 0
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == new


def test_a_delta_that_was_cut_is_gone_on_with(tmp_path: Path) -> None:
    device, _, second, new = versions(tmp_path)

    class Cut(LocalConnection):
        def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
            if any("assemble" in word for word in argv):
                raise DeviceLostError("the cable was pulled")
            return super().run(argv, timeout_s=timeout_s, stdin=stdin)

    broken = Store(Cut("here"), device="here", workdir=str(tmp_path / "d"), project="demo", chunks=ChunkMaps(tmp_path / "maps"))
    with pytest.raises(DeviceLostError):
        broken.receive(second, progress=lambda _: None)
    device.reopen()
    sent: list[int] = []
    assert device.receive(second, progress=sent.append).chunks_reused > 100
    assert sum(sent) < 3000  # the recipe: what changed was there
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == new


def test_what_changed_may_be_another_file_that_is_there(tmp_path: Path) -> None:
    """An adapter that was deployed by itself, and now also stands at the end of a larger file."""
    old = random.Random(1).randbytes(12 * MIB)
    base = local(tmp_path / "1", "base", old)
    at = chunks_of(Path(base.local))[-2].offset
    tail = old[at : at + 16] + random.Random(2).randbytes(600_000)  # sixteen bytes say that it is cut there
    adapter, merged = local(tmp_path / "1", "adapter", tail), local(tmp_path / "2", "merged", old[:at] + tail)
    maps = ChunkMaps(tmp_path / "maps")
    device = store(tmp_path / "d", chunks=maps)
    for file in (base, adapter):
        device.receive(file, progress=lambda _: None)
    device.activate(manifest(base, adapter))
    device = store(tmp_path / "d", chunks=maps)
    assert device.receive(merged, progress=lambda _: None).chunks_reused > 100
    assert device.broken_links(manifest(base, adapter)) == frozenset()


def test_a_device_that_cannot_say_what_a_blob_consists_of_gets_the_file_whole(tmp_path: Path) -> None:
    helper = local(tmp_path / "src", "edgedeploy-device", HELPER.replace("case", "[ $1 != chunks ] || exit 1; case").encode())
    old = random.Random(1).randbytes(5 * MIB)
    first, second = local(tmp_path / "1", "model.pte", old), local(tmp_path / "2", "model.pte", old + b"more")
    device = store(tmp_path / "d")
    device.install_helper(helper)
    device.receive(first, progress=lambda _: None)
    device.reopen()
    device.receive(second, progress=lambda _: None)
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == old + b"more"


def test_a_release_that_somebody_copied_aside_is_none(tmp_path: Path) -> None:
    device, _, _ = deployed(tmp_path, b"weights")
    shutil.copytree(tmp_path / "d/projects/demo/releases/1", tmp_path / "d/projects/demo/releases/1.bak", symlinks=True)
    device.reopen()
    assert device.manifests().keys() == {1}


def test_a_path_that_reads_like_another_projects_release_keeps_its_file(tmp_path: Path) -> None:
    file = local(tmp_path, "model.pte", b"weights")
    entry = msgspec.structs.replace(file.entry, path="a projects/other/releases/7/b -> c")
    device = store(tmp_path / "d")
    device.receive(file, progress=lambda _: None)
    device.activate(msgspec.structs.replace(manifest(file), files=(entry,)))
    device.reopen()
    assert device.seen.projects.keys() == {"demo"}
    device.clear_away(3)
    assert (tmp_path / "d/projects/demo/current" / entry.path).read_bytes() == b"weights"


@pytest.mark.parametrize(
    "line",
    [
        "/dev/disk3s5 971350180 615037180 1234 66% 4066321 3304128120 0% /System/Volumes/Data",  # macOS: and inodes
        "                         971350180 615037180 1234  66% /data",  # busybox, when the name had a line for itself
        "/dev/block/dm-9 971350180 615037180 1234 66% /data/user/0",
        "a 1 2 disk 971350180 615037180 1234 66% /mnt/50% full",
    ],
)
def test_free_space_is_read_from_every_df(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "df").write_text(f"#!/bin/sh\necho Filesystem\necho '{line}'\n")
    (tools / "df").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert store(tmp_path / "d").seen.free_bytes == 1234 * 1024


def test_a_devices_language_is_not_asked_for_its_complaints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """We read them, and they are words."""
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    shell = DeviceShell(LocalConnection("here"), "here")
    assert shell.run('sh -c "echo $LC_ALL"').stdout == b"C\n"


def small_files(folder: Path, count: int) -> list[LocalFile]:
    return [local(folder, f"a {number}/it's", f"content {number}".encode() * (number % 50)) for number in range(1, count + 1)]


class Counting(LocalConnection):
    poured = 0

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        self.poured += 1
        return super().pour(argv, source, quiet_s=quiet_s, progress=progress)


@pytest.mark.parametrize("helped", [False, True])
def test_many_small_files_come_in_one_go(tmp_path: Path, *, helped: bool) -> None:
    files = small_files(tmp_path / "src", 100)
    large = local(tmp_path / "src", "large", bytes(300 << 10))
    cable = Counting("here")
    device = Store(cable, device="here", workdir=str(tmp_path / "de v"), project="demo")
    if helped:
        device.install_helper(local(tmp_path / "src", "helper", HELPER.encode()))
    (tmp_path / "de v/blobs" / files[0].entry.sha256).mkdir()
    cable.poured = 0
    sent: list[int] = []
    arrived = device.receive_small([*files, large], progress=sent.append)
    assert cable.poured == 1
    assert sum(sent) > sum(file.entry.size_bytes for file in files)
    assert arrived == {file.entry.sha256 for file in files}
    device.reopen()
    assert device.missing(file.entry for file in files) == frozenset()
    assert device.damaged([files[3].entry]) == frozenset()
    assert list((tmp_path / "de v/incoming").iterdir()) == []
    device.activate(manifest(*files))


def test_of_small_files_only_those_count_that_came_whole(tmp_path: Path) -> None:
    files = small_files(tmp_path / "src", 20)
    Path(files[7].local).write_bytes(b"changed")
    device = store(tmp_path / "d")
    arrived = device.receive_small(files, progress=lambda _: None)
    assert arrived == {file.entry.sha256 for file in files} - {files[7].entry.sha256}
    assert len(list((tmp_path / "d/blobs").iterdir())) == 19
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_a_device_without_tar_gets_small_files_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/tar").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "tools/tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/tools:{os.environ['PATH']}")
    device = store(tmp_path / "d")
    assert device.receive_small(small_files(tmp_path / "src", 20), progress=lambda _: None) == frozenset()
    assert list((tmp_path / "d/incoming").iterdir()) == []


def test_an_archive_of_small_files_has_at_most_a_mebibyte(tmp_path: Path) -> None:
    entry = FileEntry(path="x", sha256="0" * 64, size_bytes=30_000)
    groups = list(packs([LocalFile(local="x", entry=entry)] * 100))
    assert [len(group) for group in groups] == [33, 33, 33]  # and one that is not worth an archive


def test_a_push_clears_away_what_cannot_be_gone_on_with(tmp_path: Path) -> None:
    file = local(tmp_path / "src", "model.pte", b"weights")
    device = part(tmp_path, file, b"wei")
    (tmp_path / "d/incoming/a.pack").mkdir()
    (tmp_path / "d/incoming/a.whole").write_bytes(b"half of two gigabytes")
    device.reopen()
    device.clear_away(3)
    assert [item.name for item in (tmp_path / "d/incoming").iterdir()] == [f"{file.entry.sha256}.part"]
