"""The cable of a stand-in: connections to a port of the host's loopback, relayed into a private network."""

from __future__ import annotations

import selectors
import socket
import struct
from dataclasses import dataclass, field

RELAY_BUFFER_BYTES = 1 << 20


@dataclass(eq=False)
class Flow:
    """Bytes going one way: read from ``source``, written to ``sink``."""

    source: socket.socket
    sink: socket.socket
    counted: bool
    buffer: bytearray = field(default_factory=lambda: bytearray(RELAY_BUFFER_BYTES))
    start: int = 0
    end: int = 0
    ended: bool = False


@dataclass(eq=False)
class Link:
    """One connection of the host, joined to one of the service."""

    outer: socket.socket
    inner: socket.socket
    forth: Flow
    back: Flow


class Cable:
    """Relays what comes in on ``listener`` to ``service_port`` of this process's own loopback.

    It has no thread: whoever owns ``selector`` calls :meth:`handle` with what is ready.
    """

    def __init__(self, selector: selectors.BaseSelector, listener: socket.socket, service_port: int) -> None:
        self._selector = selector
        self._listener = listener
        self._service_port = service_port
        self._links: set[Link] = set()
        self._stalled = False
        self._bytes_until_cut = -1
        self._stalls_then = False
        self.plugged = False

    def plug(self) -> None:
        """Accept connections."""
        self.plugged = True
        self._bytes_until_cut = -1
        self._listener.setblocking(False)
        self._listener.listen(64)
        self.set_stalled(stalled=False)

    def pull(self) -> None:
        """Reset all connections and refuse new ones; the port stays ours."""
        self._bytes_until_cut = -1
        self._watch(self._listener, 0, None)
        if self.plugged:
            # One that listened goes back to being only bound; a second time, all that it ever accepts would begin shut down.
            self._listener.shutdown(socket.SHUT_RDWR)
        self.plugged = False
        for link in list(self._links):
            self._close(link, reset=True)

    def pull_after(self, count_bytes: int) -> None:
        """Pull as soon as ``count_bytes`` more have gone towards the service."""
        self._bytes_until_cut = count_bytes
        self._stalls_then = False

    def stall_after(self, count_bytes: int) -> None:
        """Move nothing any more as soon as ``count_bytes`` more have gone towards the service."""
        self._bytes_until_cut = count_bytes
        self._stalls_then = True

    def set_stalled(self, *, stalled: bool) -> None:
        """Keep connections and move nothing; or move again."""
        self._stalled = stalled
        self._watch(self._listener, selectors.EVENT_READ if self.plugged and not stalled else 0, None)
        for link in self._links:
            self._watch_link(link)

    def handle(self, key: selectors.SelectorKey, events: int) -> None:
        """Do what ``key``, one of this cable's sockets, is ready for."""
        if isinstance(key.data, Link):
            self._relay(key.data, key.fileobj, events)
        else:
            self._accept()

    def _accept(self) -> None:
        try:
            outer, _ = self._listener.accept()
        except OSError:
            return
        inner = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            inner.connect(("127.0.0.1", self._service_port))
        except OSError:
            inner.close()
            _reset(outer)
            return
        for end in (outer, inner):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(
            outer=outer,
            inner=inner,
            forth=Flow(source=outer, sink=inner, counted=True),
            back=Flow(source=inner, sink=outer, counted=False),
        )
        self._links.add(link)
        self._watch_link(link)

    def _relay(self, link: Link, ready: object, events: int) -> None:
        if link not in self._links:
            return
        try:
            for flow in (link.forth, link.back):
                if flow.sink is ready and events & selectors.EVENT_WRITE:
                    self._send(flow)
                if flow.source is ready and events & selectors.EVENT_READ:
                    self._receive(flow)
        except OSError:
            self._close(link, reset=True)
            return
        if self._bytes_until_cut == 0 and self._stalls_then:
            self._bytes_until_cut = -1
            self.set_stalled(stalled=True)
        elif self._bytes_until_cut == 0:
            self.pull()
        elif link.forth.ended and link.back.ended and not _pending(link.forth) and not _pending(link.back):
            self._close(link, reset=False)
        else:
            self._watch_link(link)

    def _receive(self, flow: Flow) -> None:
        if flow.ended or flow.end > flow.start:
            return
        limit = RELAY_BUFFER_BYTES
        if flow.counted and self._bytes_until_cut > 0:
            limit = min(limit, self._bytes_until_cut)
        try:
            count = flow.source.recv_into(flow.buffer, limit)
        except BlockingIOError:
            return
        flow.start, flow.end = 0, count
        if count == 0:
            flow.ended = True
            flow.sink.shutdown(socket.SHUT_WR)
            return
        if flow.counted and self._bytes_until_cut > 0:
            self._bytes_until_cut -= count
        self._send(flow)

    def _send(self, flow: Flow) -> None:
        with memoryview(flow.buffer) as view:
            while flow.start < flow.end:
                try:
                    flow.start += flow.sink.send(view[flow.start : flow.end])
                except BlockingIOError:
                    return

    def _watch_link(self, link: Link) -> None:
        for end, outgoing, incoming in ((link.outer, link.forth, link.back), (link.inner, link.back, link.forth)):
            events = 0
            if not self._stalled:
                if not outgoing.ended and not _pending(outgoing):
                    events |= selectors.EVENT_READ
                if _pending(incoming):
                    events |= selectors.EVENT_WRITE
            self._watch(end, events, link)

    def _watch(self, end: socket.socket, events: int, link: Link | None) -> None:
        known = self._selector.get_map().get(end)
        if known is None and events:
            self._selector.register(end, events, link)
        elif known is not None and not events:
            self._selector.unregister(end)
        elif known is not None and known.events != events:
            self._selector.modify(end, events, link)

    def _close(self, link: Link, *, reset: bool) -> None:
        self._links.discard(link)
        for end in (link.outer, link.inner):
            self._watch(end, 0, None)
            if reset:
                _reset(end)
            else:
                end.close()


def _pending(flow: Flow) -> bool:
    return flow.start < flow.end


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
