"""Devices that adb sees and cannot use: one that never authorises, one that never says hello.

The wire format is adb's own, from its ``docs/dev/protocol.md``: a header of six little-endian 32-bit words (command,
two arguments, length and byte sum of the data, command inverted), then the data.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_HEADER = struct.Struct("<6I")
_CONNECT = int.from_bytes(b"CNXN", "little")
_AUTH = int.from_bytes(b"AUTH", "little")
_AUTH_TOKEN, _AUTH_SIGNATURE, _AUTH_PUBLIC_KEY = 1, 2, 3
_TOKEN_BYTES = 20


class UnusableDevice:
    """A device on 127.0.0.1 while inside ``with``; ``adb connect`` it at :attr:`address`.

    Args:
        answers: True: asks for authorisation and never grants it, so adb shows ``unauthorized``; False: takes the
            connection and never says a word, so adb shows ``offline``.
    """

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.offered_keys: list[bytes] = []

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        if self._listener is None:
            raise RuntimeError("the device is used outside of its with block")
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._spawn(self._accept_all, self._listener)
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            ends = [end for end in (self._listener, *self._connections) if end is not None]
            self._listener = None
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
            end.close()
        for thread in list(self._threads):
            thread.join(timeout=5)

    def _spawn(self, target: Callable[[socket.socket], None], end: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(end,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept_all(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._listener is None:
                    connection.close()
                    return
                self._connections.append(connection)
            if self._answers:
                self._spawn(self._refuse, connection)

    def _refuse(self, connection: socket.socket) -> None:
        try:
            while True:
                command, kind, _, size_bytes, _, _ = _HEADER.unpack(_exactly(connection, _HEADER.size))
                data = _exactly(connection, size_bytes)
                if command == _CONNECT or (command == _AUTH and kind == _AUTH_SIGNATURE):
                    connection.sendall(_message(_AUTH, _AUTH_TOKEN, os.urandom(_TOKEN_BYTES)))
                elif command == _AUTH and kind == _AUTH_PUBLIC_KEY:
                    self.offered_keys.append(data)  # and nobody ever taps "Allow"
        except OSError:
            return


def _message(command: int, argument: int, data: bytes) -> bytes:
    return _HEADER.pack(command, argument, 0, len(data), sum(data), command ^ 0xFFFF_FFFF) + data


def _exactly(connection: socket.socket, size_bytes: int) -> bytes:
    received = bytearray()
    while len(received) < size_bytes:
        piece = connection.recv(size_bytes - len(received))
        if not piece:
            raise ConnectionResetError("the adb server hung up")
        received += piece
    return bytes(received)
