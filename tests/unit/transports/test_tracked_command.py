from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.errors import UsageError
from edgedeploy.transports.tracked_command import (
    WITNESS_EXIT_CODE,
    kill_line,
    new_token,
    read_tracked,
    tracked_line,
)

SHELLS = [shell for shell in ("sh", "dash", "bash", "mksh") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("argv", "code", "stderr"),
    [
        (["true"], 0, b""),
        (["sh", "-c", "echo x >&2; exit 77"], 77, b"x\n"),
        (["exit", "3"], 3, b""),
        (["sh", "-c", "printf y >&2; exit 255"], 255, b"y"),
    ],
)
def test_a_command_tells_its_end(shell: str, argv: list[str], code: int, stderr: bytes) -> None:
    token = new_token()
    ended = subprocess.run([shell, "-c", tracked_line(argv, token)], capture_output=True, timeout=30, check=False)
    tracked = read_tracked(ended.stderr, token)
    assert ended.returncode == WITNESS_EXIT_CODE
    assert (tracked.exit_code, tracked.stderr) == (code, stderr)
    assert tracked.process_group


def test_the_process_group_is_what_kill_line_kills() -> None:
    token = new_token()
    line = tracked_line(["sh", "-c", "sleep 100 & sleep 100"], token)
    process = subprocess.Popen(["sh", "-c", line], stderr=subprocess.PIPE, start_new_session=True)
    assert process.stderr is not None
    group = read_tracked(process.stderr.readline(), token).process_group
    assert group == process.pid
    subprocess.run(["sh", "-c", kill_line(group)], check=True, timeout=30)
    assert process.wait(timeout=30) == -9
    assert process.stderr.read() == b""  # the sleeping ones held it open
    process.stderr.close()


@given(head=st.binary(), own=st.binary(), rest=st.binary())
def test_what_the_command_wrote_stays_as_it_was(head: bytes, own: bytes, rest: bytes) -> None:
    told = head + b"edgedeploy-0 12\n" + own + b"edgedeploy-0 1\n" + rest
    tracked = read_tracked(told, "edgedeploy-0")
    assert (tracked.process_group, tracked.exit_code, tracked.stderr) == (12, 1, head + own + rest)


@given(cut=st.integers(min_value=0, max_value=60))
def test_a_beginning_is_enough_for_the_group_and_never_for_an_end(cut: int) -> None:
    told = b"edgedeploy-0 4711\nsome trouble\nedgedeploy-0 42\n"
    tracked = read_tracked(told[:cut], "edgedeploy-0")
    assert tracked.process_group == (4711 if cut >= len(b"edgedeploy-0 4711\n") else None)
    assert tracked.exit_code == (42 if cut >= len(told) else None)


def test_an_empty_command() -> None:
    with pytest.raises(UsageError):
        tracked_line([], new_token())
