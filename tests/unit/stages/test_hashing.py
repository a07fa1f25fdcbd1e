"""A process that reads a file, looked at from beside; by the shells and tools of boards and phones."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from unit.deploy.test_userlands import UserlandConnection, connection  # noqa: F401 - a fixture

from edgedeploy.errors import DeviceLostError
from edgedeploy.ports import Connection
from edgedeploy.stages import hashing
from edgedeploy.stages.hashing import bytes_read, watched
from edgedeploy.transports.local import LocalConnection

MIB = 1 << 20
UNTIL_S = 20.0

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system has no /proc")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four MiB, of which somebody has read three."""
    made = tmp_path / "a large file"
    made.write_bytes(bytes(4 * MIB))
    return made


@pytest.fixture
def _reader(file: Path) -> Iterator[None]:
    program = [
        "sh",
        "-c",
        'exec 3<"$1"; dd bs=1048576 count=3 of=/dev/null <&3 2>/dev/null; exec tail -c +1 -f "$1" >/dev/null',
        "sh",
    ]
    with subprocess.Popen([*program, str(file)]) as process:
        until = time.monotonic() + UNTIL_S
        while bytes_read(LocalConnection("here"), str(file)) < 3 * MIB:
            assert time.monotonic() < until
        yield
        process.kill()


@pytest.mark.usefixtures("_reader")
def test_it_is_seen_how_much_was_read(connection: UserlandConnection, file: Path) -> None:  # noqa: F811
    assert bytes_read(connection, str(file)) >= 3 * MIB
    assert bytes_read(connection, str(file.parent / "another")) == 0


@contextmanager
def another() -> Iterator[Connection]:
    yield LocalConnection("here")


@pytest.mark.usefixtures("_reader")
def test_it_is_told_while_it_goes_on_and_no_more_than_there_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_FIRST_LOOK_S", 0.0)
    monkeypatch.setattr(hashing, "_NEXT_LOOK_S", 0.01)
    heard: list[int] = []
    told = threading.Event()

    def tell(count: int) -> None:
        heard.append(count)
        told.set()

    with watched(another, str(file), 2 * MIB, tell):
        assert told.wait(UNTIL_S)
    assert set(heard) == {2 * MIB}


def test_what_does_not_take_long_is_not_looked_at_and_a_look_that_fails_does_no_harm(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    @contextmanager
    def gone() -> Iterator[Connection]:
        tried.set()
        raise DeviceLostError("it went away")
        yield

    with watched(gone, str(file), MIB, lambda _count: None):
        pass
    assert not tried.is_set()
    monkeypatch.setattr(hashing, "_FIRST_LOOK_S", 0.0)
    with watched(gone, str(file), MIB, lambda _count: None):
        assert tried.wait(UNTIL_S)
