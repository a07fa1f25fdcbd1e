from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgedeploy.errors import DeviceStorageError, UsageError
from edgedeploy.transports.adb_copy import run_copy
from edgedeploy.transports.local import LocalTransport
from edgedeploy.transports.partial_file import size_of_file_to_send, whole_or_absent
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


def test_what_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert size_of_file_to_send(tmp_path / "file") == 3
    for absent in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UsageError, match="cannot send"):
            size_of_file_to_send(absent)


def test_a_timeout_ends_the_group_and_keeps_what_was_said() -> None:
    started = time.monotonic()
    with pytest.raises(ProcessTimeoutError) as caught:
        run_process(["sh", "-c", "echo said; echo loud >&2; sleep 60 & sleep 60"], timeout_s=0.3)
    assert time.monotonic() - started < 5
    assert (caught.value.stdout, caught.value.stderr) == (b"said\n", b"loud\n")


def test_a_copy_that_paints_nothing_is_given_up() -> None:
    with pytest.raises(ProcessTimeoutError):
        run_copy(["sleep", "60"], stall_s=0.2, on_percent=lambda _percent: None)


def test_a_copy_on_a_terminal() -> None:
    seen: list[int] = []
    program = "test -t 1 && test -t 2 && test \"$TERM\" = xterm && printf '\\r[ 50%%] x\\033[K'; exit 3"
    ended = run_copy(["sh", "-c", program], stall_s=20, on_percent=seen.append)
    assert (ended.exit_code, seen) == (3, [50])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    transport = LocalTransport()
    connection = transport.connect(transport.discover()[0])
    with pytest.raises(DeviceStorageError) as caught:
        connection.send(tmp_path / "file", "/dev/full", progress=lambda _count: None)
    assert "No space left" in caught.value.seen
    assert Path("/dev/full").is_char_device()
