"""Whether a file goes whole or as changes, by what was measured on the device."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgedeploy.deploy.chunk_maps import ChunkMaps
from edgedeploy.deploy.digest import entries_of
from edgedeploy.deploy.pace import LEAST_FILE_BYTES, Pace, Rates
from edgedeploy.deploy.store import MANIFEST_SCHEMA, Received, Store
from edgedeploy.domain.release import FileEntry, LocalFile, Manifest
from edgedeploy.transports.local import LocalConnection

MB = 10**6
LARGE_BYTES = 250 * MB
DEVICE_S = 0.6  # to cut, put together and hash it, measured on a stand-in


@pytest.mark.parametrize(
    ("link_bytes_per_s", "whole"),
    [
        pytest.param(700 * MB, True, id="loopback"),
        pytest.param(450 * MB, True, id="USB 3"),
        pytest.param(110 * MB, False, id="gigabit"),
        pytest.param(30 * MB, False, id="USB 2"),
        pytest.param(6 * MB, False, id="WLAN"),
        pytest.param(2.4 * MB, False, id="20 Mbit/s"),
    ],
)
def test_changes_are_taken_where_the_link_is_slower_than_the_device(link_bytes_per_s: float, *, whole: bool) -> None:
    pace = Pace(None)
    pace.sent_whole(LARGE_BYTES, LARGE_BYTES / link_bytes_per_s)
    pace.put_together(LARGE_BYTES, DEVICE_S)
    assert pace.rates.whole_is_sooner == whole


def test_what_was_not_measured_speaks_against_nothing() -> None:
    assert not Rates().whole_is_sooner
    assert not Rates(whole_bytes_per_s=1e9).whole_is_sooner
    assert not Rates(changes_bytes_per_s=1e9).whole_is_sooner


def test_the_link_counts_as_last_seen_and_the_device_at_its_best() -> None:
    pace = Pace(None)
    pace.put_together(LARGE_BYTES, 0.5)
    for seconds in (0.3, 5.0):
        pace.sent_whole(LARGE_BYTES, seconds)
        pace.put_together(LARGE_BYTES, 1 + seconds)
    assert pace.rates.whole_bytes_per_s == 50 * MB
    assert pace.rates.changes_bytes_per_s == 500 * MB


def test_small_files_tell_nothing() -> None:
    pace = Pace(None)
    pace.sent_whole(LEAST_FILE_BYTES - 1, 1)
    pace.put_together(LEAST_FILE_BYTES - 1, 1)
    assert pace.rates == Rates()


def test_rates_are_remembered_and_after_a_week_changes_are_tried_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "paces/phone"
    Pace(file).sent_whole(LARGE_BYTES, 0.3)
    Pace(file).put_together(LARGE_BYTES, 0.5)
    assert Pace(file).rates.whole_is_sooner
    from edgedeploy.deploy import pace

    now = pace.time.time()
    monkeypatch.setattr(pace.time, "time", lambda: now + 8 * 24 * 3600)
    assert Pace(file).rates == Rates(whole_bytes_per_s=LARGE_BYTES / 0.3)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"whole_bytes_per_s": "fast"}'])
def test_what_cannot_be_read_is_measured_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pace").write_bytes(content)
    assert Pace(tmp_path / "pace").rates == Rates()


def test_nowhere_to_remember_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Pace(tmp_path / "file/pace").sent_whole(LARGE_BYTES, 1)


@pytest.mark.parametrize("whole_bytes_per_s", [0.0, 30e6, 1e12])
def test_a_store_sends_what_is_sooner_and_measures_it(tmp_path: Path, whole_bytes_per_s: float) -> None:
    old = random.Random(1).randbytes(LEAST_FILE_BYTES)
    first, second = local(tmp_path / "1", old), local(tmp_path / "2", old + b"more")
    pace = Pace(None)

    def store() -> Store:
        chunks = ChunkMaps(tmp_path / "maps")
        return Store(LocalConnection("h"), device="h", workdir=str(tmp_path / "d"), project="p", chunks=chunks, pace=pace)

    device = store()
    assert device.receive(first, progress=lambda _count: None).sooner is False
    assert pace.rates.whole_bytes_per_s > 0
    device.activate(Manifest(schema=MANIFEST_SCHEMA, project="p", files=(first.entry,)))
    known = Rates(whole_bytes_per_s=whole_bytes_per_s, changes_bytes_per_s=1e9 if whole_bytes_per_s else 0)
    pace.rates = known
    sent: list[int] = []
    received = store().receive(second, progress=sent.append)
    if whole_bytes_per_s > 1e9:
        assert received == Received(resumed_from=0, sooner=True)
        assert sum(sent) == second.entry.size_bytes
    else:
        assert received.chunks_reused > 100
        assert sum(sent) < 1 << 20
        assert pace.rates.changes_bytes_per_s > 0
    assert (tmp_path / "d/blobs" / second.entry.sha256).read_bytes() == old + b"more"


def local(folder: Path, content: bytes) -> LocalFile:
    folder.mkdir()
    (folder / "model").write_bytes(content)
    (entry,) = entries_of(folder / "model")
    return LocalFile(local=str(folder / "model"), entry=FileEntry(path="model", sha256=entry.sha256, size_bytes=entry.size_bytes))
