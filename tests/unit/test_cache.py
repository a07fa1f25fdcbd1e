"""The cache on this machine: whole entries or none, whoever else is writing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.cache import Cache, key_of
from edgedeploy.deploy.digest import file_sha256
from edgedeploy.errors import UsageError

KEEPER = """\
import sys
from pathlib import Path
from edgedeploy.cache import Cache

cache = Cache(Path(sys.argv[1]))
with cache.scratch() as scratch:
    folder = scratch / "artifact"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.bin").write_text(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    kept = cache.keep(folder, "exports", "key")
print({file.read_text() for file in kept.iterdir()}, len(list(kept.iterdir())))
"""


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """An empty one, whose folder is not there yet."""
    return Cache(tmp_path / "not" / "there")


def test_the_folder_is_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache().root == tmp_path / "edgedeploy"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert Cache().root == Path.home() / ".cache/edgedeploy"


def test_scratch_is_empty_on_the_caches_file_system_and_goes_away(cache: Cache) -> None:
    with cache.scratch() as folder:
        assert folder.parent == cache.root
        assert list(folder.iterdir()) == []
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("x")
        with cache.scratch() as other:
            assert other != folder
    assert list(cache.root.iterdir()) == []


def test_scratch_goes_away_when_the_work_fails(cache: Cache) -> None:
    with pytest.raises(KeyboardInterrupt), cache.scratch() as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(cache.root.iterdir()) == []


def test_what_is_kept_is_found_whole(cache: Cache) -> None:
    assert cache.find("exports", "key") is None
    with cache.scratch() as scratch:
        (scratch / "artifact").mkdir()
        (scratch / "artifact/model.pte").write_text("x")
        kept = cache.keep(scratch / "artifact", "exports", "key")
        assert cache.find("exports", "key") == kept
    assert (kept / "model.pte").read_text() == "x"
    assert cache.find("exports", "other") is None
    assert not list(cache.root.glob("scratch-*"))


def test_an_entry_is_never_seen_half_written(cache: Cache) -> None:
    """Keeping is one rename: the folder that was filled is the folder that is found."""
    with cache.scratch() as scratch:
        (scratch / "artifact").mkdir()
        inode = (scratch / "artifact").stat().st_ino
        assert cache.keep(scratch / "artifact", "exports", "key").stat().st_ino == inode


def test_the_first_of_two_stays(cache: Cache) -> None:
    for content in ("first", "second"):
        with cache.scratch() as scratch:
            (scratch / "artifact").mkdir()
            (scratch / "artifact/file").write_text(content)
            kept = cache.keep(scratch / "artifact", "exports", "key")
    assert (kept / "file").read_text() == "first"
    assert not list(cache.root.glob("scratch-*"))


def test_a_file_in_the_way_is_no_entry(cache: Cache) -> None:
    (cache.root / "exports").mkdir(parents=True)
    (cache.root / "exports/key").write_text("not a folder")
    assert cache.find("exports", "key") is None
    with cache.scratch() as scratch:
        (scratch / "artifact").mkdir()
        with pytest.raises(UsageError, match="the cache folder cannot be written"):
            cache.keep(scratch / "artifact", "exports", "key")


def test_two_processes_that_keep_the_same_key_agree_on_one_whole_entry(tmp_path: Path) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=30)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert said[0] in {"{'one'} 20", "{'two'} 20"}
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]


def test_a_record_is_replaced_and_leaves_no_half_file(cache: Cache) -> None:
    assert cache.read("sources", "key", dict[str, int]) is None
    cache.write("sources", "key", b'{"a": 1}')
    cache.write("sources", "key", b'{"a": 2}')
    assert cache.read("sources", "key", dict[str, int]) == {"a": 2}
    assert [file.name for file in (cache.root / "sources").iterdir()] == ["key.json"]


@pytest.mark.parametrize("damage", [b"", b'{"a": ', b'["another", "shape"]', b"\xff"])
def test_a_damaged_record_is_none(cache: Cache, damage: bytes) -> None:
    cache.write("sources", "key", damage)
    assert cache.read("sources", "key", dict[str, int]) is None


def test_a_dropped_entry_is_gone(cache: Cache) -> None:
    with cache.scratch() as scratch:
        (scratch / "artifact").mkdir()
        kept = cache.keep(scratch / "artifact", "exports", "key")
    cache.drop(kept)
    cache.drop(kept)
    assert cache.find("exports", "key") is None


def test_a_log_starts_empty_each_time(cache: Cache) -> None:
    log = cache.log("net-fp32")
    log.write_text("from the last time")
    assert cache.log("net-fp32") == log
    assert log.read_bytes() == b""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_uses_is_not(cache: Cache) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = cache.root / f"scratch-{dead.pid}-abc"
    used = cache.root / f"scratch-{os.getppid()}-abc"
    for folder in (left, used):
        folder.mkdir(parents=True)
        (folder / "half").write_text("")
    with cache.scratch() as mine, cache.scratch():
        assert mine.is_dir()
        assert not left.exists()
        assert (used / "half").is_file()


def test_a_cache_that_cannot_be_made_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="the cache folder cannot be written") as caught,
        Cache(tmp_path / "file/cache").scratch(),
    ):
        pytest.fail("there is nothing to work in")
    assert caught.value.where == str(tmp_path / "file/cache")
    assert caught.value.seen == os.strerror(20)
    assert "XDG_CACHE_HOME" in caught.value.next_step


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed."""
    seen: list[Path] = []

    def hashed(path: Path) -> str:
        seen.append(path)
        return file_sha256(path)

    monkeypatch.setattr("edgedeploy.cache.file_sha256", hashed)
    return seen


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes from now: what was just written has settled."""
    now = time.time_ns
    monkeypatch.setattr("edgedeploy.cache.time.time_ns", lambda: now() + 120 * 10**9)


LARGE = b"weights!" * (1 << 17)


@pytest.mark.usefixtures("later")
def test_a_large_file_that_is_the_same_is_hashed_once(cache: Cache, tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(LARGE)
    digest = hashlib.sha256(LARGE).hexdigest()
    assert [cache.sha256(file), cache.sha256(file), Cache(cache.root).sha256(file)] == [digest] * 3
    assert reads == [file]


@pytest.mark.usefixtures("later")
def test_a_large_file_that_changed_is_hashed_again_whatever_its_size_and_time_say(
    cache: Cache, tmp_path: Path, reads: list[Path]
) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(LARGE)
    written = file.stat()
    cache.sha256(file)
    file.write_bytes(LARGE[::-1])
    os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert cache.sha256(file) == hashlib.sha256(LARGE[::-1]).hexdigest()
    other = tmp_path / "other.bin"
    other.write_bytes(LARGE[1:] + b"?")
    os.utime(other, ns=(written.st_atime_ns, written.st_mtime_ns))
    other.replace(file)
    assert cache.sha256(file) == hashlib.sha256(LARGE[1:] + b"?").hexdigest()
    assert len(reads) == 3


def test_a_file_that_has_just_been_written_is_known_by_its_content_alone(cache: Cache, tmp_path: Path, reads: list[Path]) -> None:
    file, copy = tmp_path / "weights.bin", tmp_path / "copy.bin"
    file.write_bytes(LARGE)
    copy.write_bytes(LARGE)
    assert cache.sha256(file) == cache.sha256(file) == cache.sha256(copy) == hashlib.sha256(LARGE).hexdigest()
    assert reads == [file]
    assert not (cache.root / "digests").exists()
    written = file.stat()
    file.write_bytes(LARGE[1:] + b"?")
    os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert cache.sha256(file) == hashlib.sha256(LARGE[1:] + b"?").hexdigest()


@pytest.mark.usefixtures("later")
def test_a_small_file_is_hashed_each_time_and_leaves_no_record(cache: Cache, tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "model.py"
    file.write_bytes(b"one")
    assert cache.sha256(file) == cache.sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert reads == [file, file]
    assert not cache.root.exists()


@pytest.mark.usefixtures("later")
def test_digests_do_without_a_cache_that_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(LARGE)
    assert Cache(file / "cache").sha256(file) == hashlib.sha256(LARGE).hexdigest()


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(PARTS, PARTS)
def test_keys_are_equal_when_the_parts_are(one: object, two: object) -> None:
    assert (key_of(one) == key_of(two)) == (repr_of(one) == repr_of(two))
    assert len(key_of(one)) == hashlib.sha256().digest_size * 2


def repr_of(part: object) -> str:
    """Tells True from 1, which are equal in Python; does not mind the order of keys."""
    if isinstance(part, dict):
        return "{" + ", ".join(f"{key!r}: {repr_of(value)}" for key, value in sorted(part.items())) + "}"
    return "[" + ", ".join(map(repr_of, part)) + "]" if isinstance(part, list) else repr(part)


def test_parts_do_not_run_into_each_other() -> None:
    assert len({key_of("ab", "c"), key_of("a", "bc"), key_of("abc"), key_of(("ab", "c"))}) == 4
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
