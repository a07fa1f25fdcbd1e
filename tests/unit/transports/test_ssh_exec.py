"""A command on a transport that is made up: what is left of it when it ends before its stdin does."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from edgedeploy.transports.flow import Flow
from edgedeploy.transports.ssh_exec import ChannelTimeoutError, run_line


class Channel:
    """Takes nothing until it is closed, and says nothing."""

    out_max_packet_size = 1024

    def __init__(self) -> None:
        self.status_event, self.closed, self.readers = threading.Event(), threading.Event(), set[str]()

    def exec_command(self, line: bytes) -> None: ...

    def recv(self, _size: int) -> bytes:
        self.closed.wait()
        return b""

    recv_stderr = recv

    def sendall(self, _piece: bytes) -> None:
        if self.closed.is_set():
            raise OSError("Socket is closed")
        self.readers.add(threading.current_thread().name)
        self.closed.wait()
        threading.Event().wait(0.05)  # what was sent just before the end

    def shutdown_write(self) -> None: ...

    def close(self) -> None:
        self.closed.set()


class Transport:
    """One channel."""

    def __init__(self) -> None:
        self.channel = Channel()

    def open_session(self, *, timeout: float) -> Channel:
        assert timeout
        return self.channel

    def is_active(self) -> bool:
        return True


class Zeros:
    """A file that has more than is ever taken."""

    def __init__(self) -> None:
        self.descriptor = os.open("/dev/zero", os.O_RDONLY)

    def fileno(self) -> int:
        return self.descriptor

    def taken_bytes(self) -> int:
        return 0


def test_nobody_reads_from_a_descriptor_that_is_closed_after_the_command() -> None:
    """Its number may be another device's file by then."""
    transport: Any = Transport()
    source = Zeros()
    with pytest.raises(ChannelTimeoutError):
        run_line(
            transport,
            "dd",
            timeout_s=0.1,
            stdin=source,
            cancelled=threading.Event(),
            aborted=lambda _stderr: None,
            flow=Flow(source, lambda _count: None),
        )
    left = {thread.name for thread in threading.enumerate()} & transport.channel.readers
    os.close(source.descriptor)
    assert not left
