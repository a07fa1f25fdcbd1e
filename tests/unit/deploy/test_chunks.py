from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedeploy.deploy import delta
from edgedeploy.deploy.chunks import Chunk, chunks_of, pack, unpack

KIB = 1 << 10


def noise(size_bytes: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def cut(tmp_path: Path, content: bytes) -> tuple[Chunk, ...]:
    file = tmp_path / "file"
    file.write_bytes(content)
    return chunks_of(file)


@pytest.mark.parametrize("size_bytes", [0, 1, 15, 16, 16 * KIB, 16 * KIB + 1, 300 * KIB, 3000 * KIB + 5])
@pytest.mark.parametrize("filling", ["noise", "zeros"])
def test_chunks_cover_a_file_without_gaps_and_within_bounds(tmp_path: Path, size_bytes: int, filling: str) -> None:
    content = noise(size_bytes, 1) if filling == "noise" else bytes(size_bytes)
    chunks = cut(tmp_path, content)
    assert sum(chunk.size_bytes for chunk in chunks) == size_bytes
    assert [chunk.offset for chunk in chunks] == [sum(c.size_bytes for c in chunks[:i]) for i in range(len(chunks))]
    assert all(16 * KIB <= chunk.size_bytes <= 256 * KIB for chunk in chunks[:-1])
    assert unpack(pack(chunks)) == chunks


def test_noise_makes_chunks_of_about_64_kib_more(tmp_path: Path) -> None:
    chunks = cut(tmp_path, noise(20_000 * KIB, 2))
    assert 60 * KIB < 20_000 * KIB / len(chunks) < 100 * KIB


@pytest.mark.parametrize("shift_bytes", [8, 64, 4096, 100_000])
def test_what_moves_is_cut_at_the_same_places(tmp_path: Path, shift_bytes: int) -> None:
    content = noise(4000 * KIB, 3)
    before = {chunk.digest for chunk in cut(tmp_path, content)}
    after = cut(tmp_path, noise(shift_bytes, 4) + content)
    assert sum(chunk.size_bytes for chunk in after if chunk.digest not in before) < 600 * KIB + shift_bytes


def test_a_map_that_was_cut_short_gives_what_is_whole() -> None:
    chunks = (Chunk(0, 5, b"a" * 12), Chunk(5, 7, b"b" * 12))
    assert unpack(pack(chunks)[:-3]) == chunks[:1]


def rebuilt(made: delta.Plan, new: bytes, old: dict[str, bytes]) -> bytes:
    sources = {"": new, **old}
    return b"".join(sources[part.source][part.offset : part.offset + part.size_bytes] for part in made.ranges)


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.sampled_from(["a", "b", "new"]), st.integers(0, 30), st.integers(1, 12)), max_size=12),
    seed=st.integers(0, 3),
)
def test_a_plan_makes_the_new_file_again(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, int, int]], seed: int
) -> None:
    """New files of pieces of old ones, at places that are multiples of 8 bytes, and of something else."""
    folder = tmp_path_factory.mktemp("plan")
    old = {"a": noise(1000 * KIB, seed), "b": noise(700 * KIB, seed + 10)}
    content = {**old, "new": noise(1000 * KIB, seed + 20)}
    new = b"".join(content[name][start * 8000 : (start + length) * 8000] for name, start, length in pieces)
    made = delta.plan(cut(folder, new), {name: cut(folder, it) for name, it in old.items()})
    assert rebuilt(made, new, old) == new
    assert made.literal_bytes == sum(part.size_bytes for part in made.ranges if not part.source)


def test_ranges_are_long(tmp_path: Path) -> None:
    old = noise(3000 * KIB, 5)
    new = old[: 1000 * KIB] + noise(8, 6) + old[1000 * KIB :]
    made = delta.plan(cut(tmp_path, new), {"other": cut(tmp_path, old[: 500 * KIB]), "old": cut(tmp_path, old)})
    assert len(made.ranges) <= 5
    assert made.literal_bytes < 600 * KIB
    assert made.pays(3000 * KIB, by_shell=True)
    assert not made.pays(100 * KIB, by_shell=True)
