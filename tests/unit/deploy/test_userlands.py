"""The store's and the leases' scripts under the shells and tools of boards, phones and Macs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from standins.unavailable import StandinUnavailableError
from standins.userlands import KINDS, make_userland

from edgedeploy.deploy import compression, delta
from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.durable import flush_blobs
from edgedeploy.deploy.lease import Leases
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Store
from edgedeploy.domain.manifest import Manifest
from edgedeploy.domain.release import FileEntry, LocalFile
from edgedeploy.errors import DeviceBusyError, LeaseLostError
from edgedeploy.ports import ByteProgress, Completed, Feed
from edgedeploy.transports.local import LocalConnection

MIB = 1 << 20


class UserlandConnection(LocalConnection):
    """Runs with one folder as PATH, and nothing else in the environment."""

    def __init__(self, folder: Path, home: Path) -> None:
        super().__init__("here")
        self.home = home
        self._before = ["/usr/bin/env", "-i", f"PATH={folder}", f"HOME={home}", "POSIXLY_CORRECT=1"]

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        return super().run([*self._before, *argv], timeout_s=timeout_s, stdin=stdin)

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        return super().pour([*self._before, *argv], source, quiet_s=quiet_s, progress=progress)


@pytest.fixture(params=KINDS)
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> UserlandConnection:
    try:
        folder = make_userland(request.param, tmp_path / "tools of a device")
    except StandinUnavailableError as exc:
        pytest.skip(str(exc))
    return UserlandConnection(folder, tmp_path)


def opened(connection: UserlandConnection) -> Store:
    chunks = ChunkMaps(Path(connection.home, "maps"))
    return Store(connection, device="here", workdir="~/dev ice/of mine", project="demo", chunks=chunks)


def local(folder: Path, name: str, content: bytes) -> LocalFile:
    file = folder / "here" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    (entry,) = entries_of(file)
    return LocalFile(local=str(file), entry=FileEntry(path=name, sha256=entry.sha256, size_bytes=entry.size_bytes))


def manifest(*files: LocalFile) -> Manifest:
    return Manifest(schema=MANIFEST_SCHEMA, project="demo", files=tuple(file.entry for file in files))


def send(store: Store, *files: LocalFile) -> None:
    for file in files:
        store.receive(file, progress=lambda _count: None)


def test_releases_come_and_go(connection: UserlandConnection, tmp_path: Path) -> None:
    one, two = local(tmp_path, "a b/it's 模型.bin", b"one"), local(tmp_path, "two", bytes(range(256)) * 9)
    store = opened(connection)
    assert store.seen.runs_programs
    assert 0 < store.seen.free_bytes < 1 << 50
    send(store, one)
    assert store.activate(manifest(one)) == 1
    store = opened(connection)
    assert store.missing((one.entry, two.entry)) == {two.entry.sha256}
    send(store, two)
    assert store.activate(manifest(one, two)) == 2
    store = opened(connection)
    assert (store.project.current, store.project.previous, store.project.whole) == (2, 1, {1, 2})
    current = tmp_path / "dev ice/of mine/projects/demo/current"
    assert (current / "a b/it's 模型.bin").read_bytes() == b"one"
    assert store.complaints == []
    assert store.roll_back() == 1
    assert str(current.readlink()) == "releases/1"
    assert set(opened(connection).manifests()) == {1, 2}
    store = opened(connection)
    store.roll_back(2)
    store.reopen()
    assert store.clear_away(1).releases == ()
    assert store.damaged((one.entry, two.entry)) == frozenset()


def test_small_files_come_in_one_go(connection: UserlandConnection, tmp_path: Path) -> None:
    files = [local(tmp_path, f"f{number}", bytes([number]) * 99 * number) for number in range(1, 9)]
    store = opened(connection)
    assert store.receive_small(files, progress=lambda _count: None) == {file.entry.sha256 for file in files}
    assert store.damaged(file.entry for file in files) == frozenset()
    assert store.activate(manifest(*files)) == 1


@pytest.mark.parametrize("count", [5, 40])
def test_the_medium_is_waited_for(connection: UserlandConnection, tmp_path: Path, count: int) -> None:
    sent = [local(tmp_path, f"f{number}", bytes([number])) for number in range(count)]
    store = opened(connection)
    store.receive_small(sent, progress=lambda _count: None)
    sizes = {file.entry.sha256: file.entry.size_bytes for file in sent}
    assert flush_blobs(DeviceShell(connection, "here"), store.root, sizes) == ""


def test_damage_is_found_and_what_is_not_needed_goes(connection: UserlandConnection, tmp_path: Path) -> None:
    files = [local(tmp_path, f"f{number}", bytes([number]) * 99) for number in range(4)]
    for file in files:
        store = opened(connection)
        send(store, file)
        store.activate(manifest(file))
    blob = tmp_path / f"dev ice/of mine/blobs/{files[3].entry.sha256}"
    blob.chmod(0o700)
    blob.write_bytes(bytes(99))
    assert store.damaged((files[3].entry,), remove=True) == {files[3].entry.sha256}
    store = opened(connection)
    assert [number for _, number in store.clear_away(1).releases] == [1, 2]
    assert set(opened(connection).seen.blobs) == {files[2].entry.sha256}


def test_a_transfer_goes_on_where_it_was_cut(connection: UserlandConnection, tmp_path: Path) -> None:
    file = local(tmp_path, "f", random.Random(1).randbytes(3 * MIB + 17))
    opened(connection)
    part = tmp_path / f"dev ice/of mine/incoming/{file.entry.sha256}.part"
    part.write_bytes(Path(file.local).read_bytes()[: 2 * MIB + 5])
    store = opened(connection)
    assert store.seen.parts == {file.entry.sha256: 2 * MIB + 5}
    assert store.receive(file, progress=lambda _count: None).resumed_from == 2 * MIB
    assert opened(connection).missing((file.entry,)) == frozenset()


def test_compressed(connection: UserlandConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "pays", lambda _sample, _rate: True)
    file = local(tmp_path, "f", bytes(17 * MIB))
    store = opened(connection)
    saved: list[int] = []
    store.receive(file, progress=lambda _count: None, saved=saved.append)
    assert sum(saved) > 10 * MIB
    assert opened(connection).missing((file.entry,)) == frozenset()


def test_a_new_version_is_put_together(connection: UserlandConnection, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(delta.LEAST_FILE_BYTES + MIB)
    old, new = local(tmp_path, "old", content), local(tmp_path, "new", content[:MIB] + b"changed!" + content[MIB:])
    store = opened(connection)
    send(store, old)
    store.activate(manifest(old))
    store.reopen()
    assert store.receive(new, progress=lambda _count: None).chunks_reused > 1
    assert opened(connection).missing((new.entry,)) == frozenset()


def test_free_space_of_a_mac_is_not_its_free_inodes(tmp_path: Path) -> None:
    store = opened(UserlandConnection(make_userland("mac", tmp_path / "tools"), tmp_path))
    assert store.seen.free_bytes == 123456789 * 1024


def test_a_lease_on_a_mac_counts_its_uptime_whatever_its_clock_says(tmp_path: Path) -> None:
    tools = make_userland("mac", tmp_path / "tools")
    shell = DeviceShell(UserlandConnection(tools, tmp_path), "here")
    leases = Leases(shell, str(tmp_path / "d"))
    number = leases.take(token="a", owner="a", purpose="", ttl_s=60, waiting=lambda _: None)
    boot, until, *_ = str((tmp_path / f"d/leases/{number}").readlink()).split()
    assert boot == "6E1C4D07-31C1-4E5A-9F77-2B4B5A1E8C11"
    for tool, answer in (("date", "1761993600"), ("sysctl", "{ sec = 1761990000, usec = 1 } Sat Nov  1 09:40:00 2025")):
        real = (tools / tool).resolve()
        (tools / tool).unlink()
        known = f"case $* in *boottime | +%s) echo '{answer}' ;; *) exec {real} \"$@\" ;; esac"
        (tools / tool).write_text(f"#!/bin/sh\n{known}\n", encoding="ascii")
        (tools / tool).chmod(0o755)
    leases.renew(number, token="a", owner="a", purpose="", ttl_s=60)
    assert str((tmp_path / f"d/leases/{number}").readlink()).split()[1] == "3660"
    assert int(until) > 3660


def test_leases(connection: UserlandConnection) -> None:
    leases = Leases(DeviceShell(connection, "here"), "~/dev ice")
    number = leases.take(token="a", owner="it's me", purpose="tests", ttl_s=60, waiting=lambda _: None)
    with pytest.raises(DeviceBusyError, match="it's me"):
        leases.take(token="b", owner="b", purpose="", waiting=lambda _: None)
    leases.renew(number, token="a", owner="it's me", purpose="tests", ttl_s=60)
    holder = leases.holder()
    assert holder is not None
    assert 55 <= holder.left_s <= 60
    assert leases.release("a")
    assert leases.holder() is None
    leases.take(token="b", owner="b", purpose="", waiting=lambda _: None)
    with pytest.raises(LeaseLostError):
        leases.renew(number, token="a", owner="a", purpose="")
