"""Connections passed on to another port, each device's at a rate of its own: links that devices do not share.

``python relay.py HOST BYTES_PER_S PORT…`` listens once for every port of 127.0.0.1, prints the ports it listens on, and ends
when its stdin does. 0: as fast as it goes.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_PIECE_BYTES = 1 << 14
_BUFFER_BYTES = 1 << 16  # what is on its way and not yet there
_IP_FREEBIND = 15  # linux/in.h: an address that comes into being later


class Rate:
    """So many bytes per second in one direction, for all connections together."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, size_bytes: int) -> None:
        """Until these bytes would have gone through."""
        if not self._bytes_per_s:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_s
            left_s = self._free_at - now
        time.sleep(left_s)


@contextmanager
def relays(ports: Sequence[int], *, host: str = "127.0.0.1", bytes_per_s: float = 0) -> Iterator[list[int]]:
    """Relays to these ports of 127.0.0.1, in a process of their own; the ports they listen on."""
    command = [sys.executable, __file__, host, str(bytes_per_s), *map(str, ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield [int(word) for word in process.stdout.readline().split()]
        finally:
            process.kill()


def _serve(listener: socket.socket, port: int, bytes_per_s: float) -> None:
    forth, back = Rate(bytes_per_s), Rate(bytes_per_s)
    while True:
        outer, _ = listener.accept()
        inner = socket.create_connection(("127.0.0.1", port))
        for source, sink, rate in ((outer, inner, forth), (inner, outer, back)):
            threading.Thread(target=_pass_on, args=(source, sink, rate), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, rate: Rate) -> None:
    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            rate.wait(len(piece))
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        source.shutdown(socket.SHUT_RD)


def main() -> None:
    """Serve until stdin ends."""
    host, bytes_per_s, ports = sys.argv[1], float(sys.argv[2]), [int(word) for word in sys.argv[3:]]
    heard = []
    for port in ports:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        if host != "127.0.0.1":
            listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((host, 0))
        listener.listen()
        threading.Thread(target=_serve, args=(listener, port, bytes_per_s), daemon=True).start()
        heard.append(listener.getsockname()[1])
    print(*heard, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
