"""What every transport has to do, on this machine, on a real sshd and on a real adbd."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from integration.transports.rig import Rig

from edgedeploy.deploy.feed import file_feed
from edgedeploy.deploy.storage_complaints import storage_remedy
from edgedeploy.errors import CommandTimeoutError, DeviceError, DeviceLostError, DeviceRunError, UsageError
from edgedeploy.ports import ByteProgress, Completed

MIB = 1 << 20
ALL_BYTES = bytes(range(256))
HOSTILE_ARGUMENTS = [
    "",
    " ",
    "-n",
    "--",
    "it's",
    '"double" `back` $HOME $(id) ${x}',
    "a\\b\\n\\",
    "line\nbreak\n",
    "tab\tand\rreturn",
    "*?[a-z]{1,2}~!#&|;<>()",
    "a=b",
    "~/x",
    "größe 📱 \u202e",
    "\x01\x7f\x1b[31m",
    "x" * 5000,
]
HOSTILE_NAMES = ["-rf", "it's", 'a "b" $(id) `c`', "  blanks  ", "größe 📱", "semi;colon&", "back\\slash", "[x]*?"]


def poured(rig: Rig, source: Path, remote: str, progress: ByteProgress = lambda _count: None) -> Completed:
    """What became of writing a file on the device."""
    with file_feed(source) as feed:
        return rig.connection.pour(["dd", f"of={remote}", f"bs={MIB}"], feed, quiet_s=20, progress=progress)


def test_exit_codes_and_both_outputs(rig: Rig) -> None:
    for code in (0, 1, 2, 42, 77, 126, 127, 255):
        ended = rig.connection.run(["sh", "-c", f"echo out; echo err >&2; exit {code}"], timeout_s=20)
        assert (ended.exit_code, ended.stdout, ended.stderr) == (code, b"out\n", b"err\n")


def test_output_without_a_last_newline_and_none_at_all(rig: Rig) -> None:
    ended = rig.connection.run(["sh", "-c", "printf o; printf e >&2"], timeout_s=20)
    assert (ended.stdout, ended.stderr) == (b"o", b"e")
    ended = rig.connection.run(["true"], timeout_s=20)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_program_that_is_not_there_and_one_that_a_signal_kills(rig: Rig) -> None:
    assert rig.connection.run(["no-such-program"], timeout_s=20).exit_code == 127
    assert rig.connection.run([rig.folder], timeout_s=20).exit_code == 126
    assert rig.connection.run(["sh", "-c", "kill -9 $$"], timeout_s=20).exit_code == 137
    assert rig.connection.run(["sh", "-c", "kill -TERM $$"], timeout_s=20).exit_code == 143


def test_a_command_that_kills_its_whole_group(rig: Rig) -> None:
    assert rig.connection.run(["sh", "-c", "kill -9 0"], timeout_s=20).exit_code == 137
    assert rig.connection.run(["true"], timeout_s=20).exit_code == 0


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_every_byte_value_passes(rig: Rig, stream: str) -> None:
    content = ALL_BYTES * 9 + b"\r\n\n~.\n~?\x00\xff"
    command = "cat" if stream == "stdout" else "cat >&2"
    ended = rig.connection.run(["sh", "-c", command], timeout_s=20, stdin=content)
    assert getattr(ended, stream) == content


def test_five_megabytes_come_whole(rig: Rig) -> None:
    ended = rig.connection.run(["sh", "-c", f"head -c {5 * MIB} /dev/zero; head -c {MIB} /dev/zero >&2"], timeout_s=60)
    assert ended.exit_code == 0
    assert ended.stdout == bytes(5 * MIB)
    assert ended.stderr == bytes(MIB)


def test_stdin_arrives_and_may_be_ignored(rig: Rig) -> None:
    content = os.urandom(3 * MIB)
    assert rig.connection.run(["cat"], timeout_s=60, stdin=content).stdout == content
    assert rig.connection.run(["true"], timeout_s=60, stdin=content).exit_code == 0
    # Without stdin a program meets its end, and does not wait.
    assert rig.connection.run(["cat"], timeout_s=20).stdout == b""


def test_hostile_arguments_arrive_as_they_are(rig: Rig) -> None:
    script = 'for a in "$@"; do printf "%s\\0" "$a"; done'
    ended = rig.connection.run(["sh", "-c", script, "sh", *HOSTILE_ARGUMENTS], timeout_s=20)
    assert ended.stdout.decode().split("\0")[:-1] == HOSTILE_ARGUMENTS


@pytest.mark.parametrize("argv", [[], ["echo", "a\0b"], ["echo", "\ud800"]])
def test_what_cannot_be_an_argument_is_refused(rig: Rig, argv: list[str]) -> None:
    with pytest.raises(UsageError):
        rig.connection.run(argv, timeout_s=20)


def test_a_timeout_kills_what_runs_there(rig: Rig) -> None:
    beat = f"{rig.folder}/beat"
    script = '(while :; do echo x >> "$1"; sleep 0.1; done) & while :; do sleep 1; done'
    started = time.monotonic()
    with pytest.raises(DeviceLostError, match="did not end within 1 s"):
        rig.connection.run(["sh", "-c", script, "sh", beat], timeout_s=1)
    assert time.monotonic() - started < 10
    length = rig.connection.run(["sh", "-c", 'wc -c < "$1"; sleep 0.5; wc -c < "$1"', "sh", beat], timeout_s=20)
    before, after = length.stdout.split()
    assert int(before) > 0
    assert before == after


@pytest.mark.parametrize("size_bytes", [0, 3, 20 * MIB + 1])
def test_files_go_there_and_back(rig: Rig, tmp_path: Path, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(content)
    told: list[int] = []
    assert poured(rig, source, f"{rig.folder}/file", told.append).exit_code == 0
    assert sum(told) == size_bytes
    assert all(count > 0 for count in told)
    rig.connection.fetch(f"{rig.folder}/file", back)
    assert back.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["back", "source"]


def test_file_names_from_hell(rig: Rig, tmp_path: Path) -> None:
    for name in HOSTILE_NAMES:
        source = tmp_path / name
        source.write_text(name, encoding="utf-8")
        assert poured(rig, source, f"{rig.folder}/{name}").exit_code == 0
        source.unlink()
        rig.connection.fetch(f"{rig.folder}/{name}", source)
        assert source.read_text(encoding="utf-8") == name


def test_a_command_that_ends_early_ends_the_pouring(rig: Rig, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(20 * MIB))
    for remote in ("/proc/nothing-here", "/proc/no/such/folder/file"):
        done = poured(rig, source, remote)
        assert done.exit_code == 1
        assert storage_remedy(done.stderr.decode())
    assert rig.connection.run(["echo", "still here"], timeout_s=20).stdout == b"still here\n"


def test_a_command_that_reads_nothing_is_killed(rig: Rig, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(20 * MIB))
    beat = f"{rig.folder}/beat"
    script = 'while :; do echo x >> "$1"; sleep 0.1; done'
    with file_feed(source) as feed, pytest.raises(CommandTimeoutError, match="nothing moved for 1 s"):
        rig.connection.pour(["sh", "-c", script, "sh", beat], feed, quiet_s=1, progress=lambda _count: None)
    length = rig.connection.run(["sh", "-c", 'wc -c < "$1"; sleep 0.5; wc -c < "$1"', "sh", beat], timeout_s=20)
    before, after = length.stdout.split()
    assert int(before) > 0
    assert before == after


def test_a_long_transfer_is_told_of_while_it_goes_on(rig: Rig, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(32 * MIB))
    told: list[int] = []
    script = "while [ $(dd bs=1048576 count=1 2>/dev/null | wc -c) -gt 0 ]; do sleep 0.02; done"
    with file_feed(source) as feed:
        assert rig.connection.pour(["sh", "-c", script], feed, quiet_s=20, progress=told.append).exit_code == 0
    assert sum(told) == 32 * MIB
    assert len(told) > 3


def test_a_file_goes_on_from_an_offset(rig: Rig, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB + 17))
    told: list[int] = []
    argv = ["dd", f"of={rig.folder}/file", f"bs={MIB}", "seek=2", "conv=notrunc"]
    with file_feed(source, offset=2 * MIB) as feed:
        assert rig.connection.pour(argv, feed, quiet_s=20, progress=told.append).exit_code == 0
    assert sum(told) == MIB + 17
    back = tmp_path / "back"
    rig.connection.fetch(f"{rig.folder}/file", back)
    assert back.read_bytes() == bytes(2 * MIB) + source.read_bytes()[2 * MIB :]


def test_a_file_that_is_not_there_is_not_fetched(rig: Rig, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as before", encoding="ascii")
    with pytest.raises(DeviceRunError, match="cannot read") as caught:
        rig.connection.fetch(f"{rig.folder}/absent", kept)
    assert "No such file" in caught.value.seen
    assert kept.read_text(encoding="ascii") == "as before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["kept"]


def test_the_state_of_a_device_that_is_there(rig: Rig) -> None:
    assert rig.transport.state(rig.device).state == "ready"


def test_a_cable_pulled_while_a_command_runs(rig: Rig) -> None:
    if rig.pull_cable is None:
        pytest.skip("this machine has no cable")
    puller = threading.Timer(0.7, rig.pull_cable)
    puller.start()
    started = time.monotonic()
    with pytest.raises(DeviceLostError) as caught:
        rig.connection.run(["sleep", "60"], timeout_s=50)
    puller.join()
    assert time.monotonic() - started < 30
    assert caught.value.retryable
    assert caught.value.next_step
    with pytest.raises(DeviceError):
        rig.connection.run(["true"], timeout_s=10)
    assert rig.transport.state(rig.device).state in {"offline", "unreachable"}
    with pytest.raises(DeviceError):
        rig.transport.connect(rig.device)


def test_a_cable_pulled_while_a_file_is_sent(rig: Rig, tmp_path: Path) -> None:
    if rig.pull_cable is None:
        pytest.skip("this machine has no cable")
    source = tmp_path / "source"
    source.write_bytes(os.urandom(64 * MIB))
    told: list[int] = []
    rig.pull_cable(after_bytes=20 * MIB)  # by bytes, not by progress: a busy machine may hear of the first percent after the last
    with pytest.raises(DeviceLostError) as caught:
        poured(rig, source, f"{rig.folder}/file", told.append)
    assert sum(told) < 64 * MIB
    assert "went away" in caught.value.what
