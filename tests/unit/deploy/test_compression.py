from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest
from unit.deploy.test_store import local, part

from edgedeploy.deploy import compression
from edgedeploy.deploy.compression import Sample, pays, pipe_feed, sample

MIB = 1 << 20
SPARSE = b"".join(random.Random(1).randbytes(20) + bytes(60) for _ in range(MIB // 4))  # 20 MiB, a quarter of it noise
NOISE = random.Random(2).randbytes(20 * MIB)


@pytest.mark.parametrize(("content", "promising"), [(SPARSE, True), (NOISE, False), (bytes(20 * MIB), True)])
def test_a_sample_tells_sparse_from_dense(tmp_path: Path, content: bytes, promising: bool) -> None:
    (tmp_path / "file").write_bytes(content)
    looked = sample(tmp_path / "file", len(content))
    assert looked.promising is promising
    assert looked.bytes_per_s > 0


@pytest.mark.parametrize(
    ("ratio", "compress", "link", "worth"),
    [
        (0.3, 80e6, 2.5e6, True),  # Wi-Fi
        (0.3, 80e6, 30e6, True),  # USB 2
        (0.3, 80e6, 500e6, False),  # loopback
        (0.95, 80e6, 2.5e6, False),  # noise
        (0.5, 5e6, 10e6, False),  # a slow pushing machine
        (0.85, 80e6, 2.5e6, True),
    ],
)
def test_it_pays_on_slow_links_only(ratio: float, compress: float, link: float, *, worth: bool) -> None:
    assert pays(Sample(ratio=ratio, bytes_per_s=compress), link) is worth


@pytest.mark.parametrize("offset", [0, 5, 3 * MIB])
def test_a_pipe_gives_the_part_it_was_asked_for(tmp_path: Path, offset: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(SPARSE[: 4 * MIB])
    for compressed in (False, True):
        with pipe_feed(file, offset=offset, size_bytes=MIB // 2, compressed=compressed) as feed:
            read = b""
            while piece := os.read(feed.fileno(), MIB):
                read += piece
            assert (gzip.decompress(read) if compressed else read) == SPARSE[offset : offset + MIB // 2]
            assert (feed.taken_bytes(), feed.wire_bytes) == (MIB // 2, len(read))


def test_a_pipe_whose_reader_ends_early_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(NOISE)
    with pipe_feed(file, offset=0, size_bytes=len(NOISE), compressed=False) as feed:
        os.read(feed.fileno(), 10)


@pytest.mark.parametrize("kept_bytes", [0, 2 * MIB + 5])
def test_a_sparse_file_goes_compressed_over_a_slow_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int) -> None:
    asked: list[float] = []

    def slow(looked: Sample, link_bytes_per_s: float) -> bool:
        asked.append(link_bytes_per_s)
        return pays(looked, 2.5e6)

    monkeypatch.setattr(compression, "pays", slow)
    content = SPARSE + b"the end"
    file = local(tmp_path / "src", "model.pte", content)
    told: list[int] = []
    saved: list[int] = []
    received = part(tmp_path, file, content[:kept_bytes]).receive(file, progress=told.append, saved=saved.append)
    assert (tmp_path / "d/blobs" / file.entry.sha256).read_bytes() == content
    assert len(asked) == 1
    assert received.resumed_from == kept_bytes // MIB * MIB
    assert sum(told) == len(content) - received.resumed_from
    assert sum(saved) > 8 * MIB


def test_a_file_that_cannot_be_read_on_ends_the_pipe(tmp_path: Path) -> None:
    """A folder stands for a broken disk: it opens, and no byte of it is read."""
    with pipe_feed(tmp_path, offset=0, size_bytes=MIB, compressed=False) as feed:
        assert os.read(feed.fileno(), 1) == b""
