"""One command on an open SSH transport, with both outputs read at once and a peer that is asked whether it lives."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import msgspec
import paramiko

CHANNEL_S = 10.0
_QUIET_S = 10.0
_READ_BYTES = 1 << 18
_STEP_S = 0.5


class PeerSilentError(Exception):
    """The board does not answer, or the connection broke. Internal: the connection makes a DeviceLostError of it."""


class ChannelTimeoutError(Exception):
    """The time limit passed; ``stderr`` is what had come. Internal."""

    def __init__(self, stderr: bytes) -> None:
        super().__init__("time limit passed")
        self.stderr = stderr


class CommandCancelledError(ChannelTimeoutError):
    """Somebody closed the connection while the command ran. Internal."""


class RawEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What the channel told. ``exit_status`` is None for a command that a signal ended."""

    exit_status: int | None
    stdout: bytes
    stderr: bytes


def open_channel(transport: paramiko.Transport, line: str) -> paramiko.Channel:
    """Start a command line.

    Raises:
        PeerSilentError: the connection is gone, or the board opens no channel.
    """
    try:
        channel = transport.open_session(timeout=CHANNEL_S)
        channel.exec_command(line.encode("utf-8", "surrogateescape"))
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise PeerSilentError(str(exc) or "the connection is closed") from exc
    return channel


def run_line(
    transport: paramiko.Transport,
    line: str,
    *,
    timeout_s: float,
    stdin: bytes,
    cancelled: threading.Event,
    aborted: Callable[[bytes], None],
) -> RawEnd:
    """Run a command line to its end, or until ``cancelled`` is set; ``aborted`` gets its stderr so far after Ctrl-C.

    Raises:
        ChannelTimeoutError: it did not end in time; it may still run there.
        CommandCancelledError: ``cancelled`` was set; it still runs there.
        PeerSilentError: the connection broke, or the board has not answered for 20 s.
    """
    until = time.monotonic() + timeout_s
    channel = open_channel(transport, line)
    stdout, stderr = bytearray(), bytearray()
    threads = [
        threading.Thread(target=_collect, args=(channel.recv, stdout), daemon=True),
        threading.Thread(target=_collect, args=(channel.recv_stderr, stderr), daemon=True),
        threading.Thread(target=_feed, args=(channel, stdin), daemon=True),
    ]
    pulse = _Pulse(transport)
    try:
        for thread in threads:
            thread.start()
        for thread in threads[:2]:
            while thread.is_alive():
                thread.join(_step(until, stderr, cancelled))
                pulse.check(len(stdout) + len(stderr))
        while not channel.status_event.wait(_step(until, stderr, cancelled)):
            pulse.check(len(stdout) + len(stderr))
        status = channel.exit_status
        if status < 0 and not transport.is_active():
            raise PeerSilentError(last_words(transport))
        return RawEnd(exit_status=status if status >= 0 else None, stdout=bytes(stdout), stderr=bytes(stderr))
    except KeyboardInterrupt:
        aborted(bytes(stderr))
        raise
    finally:
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            channel.close()


def _step(until: float, stderr: bytearray, cancelled: threading.Event) -> float:
    if cancelled.is_set():
        raise CommandCancelledError(bytes(stderr))
    left = until - time.monotonic()
    if left <= 0:
        raise ChannelTimeoutError(bytes(stderr))
    return min(left, _STEP_S)


def _collect(receive: Callable[[int], bytes], into: bytearray) -> None:
    with contextlib.suppress(OSError, EOFError):
        while chunk := receive(_READ_BYTES):
            into += chunk


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    """A command may end without reading its stdin; that is its right."""
    sent_bytes = 0
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while sent_bytes < len(stdin):
            sent_bytes += channel.send(stdin[sent_bytes : sent_bytes + _READ_BYTES])
        channel.shutdown_write()


class _Pulse:
    """Asks a board that has been quiet whether it is still there.

    The operating system's keepalive notices a machine that is gone, not one that hangs, nor one behind a proxy.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self._seen_bytes = 0
        self._heard_at = time.monotonic()
        self._question: threading.Thread | None = None

    def check(self, seen_bytes: int) -> None:
        now = time.monotonic()
        if seen_bytes != self._seen_bytes:
            self._seen_bytes, self._heard_at = seen_bytes, now
        if self._question is not None and not self._question.is_alive():
            self._question, self._heard_at = None, now
        if not self._transport.is_active():
            return  # the readers come to their end by themselves
        quiet_s = now - self._heard_at
        if quiet_s > 2 * _QUIET_S:
            self._transport.close()
            raise PeerSilentError(f"the board has not answered for {quiet_s:.0f} s")
        if quiet_s > _QUIET_S and self._question is None:
            self._question = threading.Thread(
                # Servers refuse what they do not know; a refusal is an answer.
                target=self._transport.global_request,
                args=("keepalive@openssh.com", None, True),
                daemon=True,
            )
            self._question.start()


def last_words(transport: paramiko.Transport) -> str:
    """Return why a transport ended, as far as it knows."""
    said = transport.saved_exception
    return str(said) if said is not None and str(said) else "the connection was closed"
