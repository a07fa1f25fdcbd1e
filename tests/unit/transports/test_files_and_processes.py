from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgedeploy.deploy.feed import file_feed
from edgedeploy.errors import UsageError
from edgedeploy.transports.local import LocalTransport
from edgedeploy.transports.partial_file import whole_or_absent
from edgedeploy.transports.timed_process import ProcessTimeoutError, run_process


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old", encoding="ascii")
    with whole_or_absent(target) as part:
        part.write_text("new", encoding="ascii")
        assert target.read_text(encoding="ascii") == "old"
    assert target.read_text(encoding="ascii") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_stays_as_it_was_when_something_fails(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old", encoding="ascii")
    with pytest.raises(RuntimeError), whole_or_absent(target) as part:
        part.write_text("new", encoding="ascii")
        raise RuntimeError
    assert target.read_text(encoding="ascii") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="on this machine"), whole_or_absent(tmp_path / "no/file") as part:
        part.write_text("new", encoding="ascii")


def test_a_file_that_is_not_there_is_not_fed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot send") as caught, file_feed(tmp_path / "gone"):
        pass
    assert "No such file" in caught.value.seen


def test_a_feed_knows_what_has_been_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with file_feed(tmp_path / "file", offset=3) as feed:
        assert feed.taken_bytes() == 0
        assert os.read(feed.fileno(), 4) == b"3456"
        assert feed.taken_bytes() == 4


def test_a_timeout_ends_the_group_and_keeps_what_was_said() -> None:
    started = time.monotonic()
    with pytest.raises(ProcessTimeoutError) as caught:
        run_process(["sh", "-c", "echo said; echo loud >&2; sleep 60 & sleep 60"], timeout_s=0.3)
    assert time.monotonic() - started < 5
    assert (caught.value.stdout, caught.value.stderr) == (b"said\n", b"loud\n")


def test_a_watch_ends_the_process_by_raising() -> None:
    looks: list[int] = []

    def watch() -> None:
        looks.append(1)
        if len(looks) > 1:
            raise UsageError("enough")

    started = time.monotonic()
    with pytest.raises(UsageError, match="enough"):
        run_process(["sleep", "60"], timeout_s=60, watch=watch)
    assert time.monotonic() - started < 10


def test_a_watched_process_reads_all_its_input() -> None:
    ended = run_process(["sh", "-c", "sleep 0.5; wc -c"], timeout_s=20, stdin=bytes(300_000), watch=lambda: None)
    assert ended.stdout.split() == [b"300000"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    transport = LocalTransport()
    connection = transport.connect(transport.discover()[0])
    with file_feed(tmp_path / "file") as feed:
        done = connection.pour(["dd", "of=/dev/full"], feed, quiet_s=20, progress=lambda _count: None)
    assert done.exit_code == 1
    assert b"No space left" in done.stderr
