"""A slow, lossy link between this machine and a program in a network of its own, without a kernel that has netem.

Two TUN devices are the link's ends: what goes into one comes out of the other later, by rate, delay and loss. The program is
``CLIENT`` and its network has nothing else; this machine is ``MACHINE`` to it. Both are addresses that are set apart for
benchmarks (RFC 2544). When the processes are gone, so is the link, whoever ended them.

``python slow_link.py PID RATE DELAY LOSS`` joins this network with that of the process PID, prints ``ready``, and ends when its
stdin does.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

CLIENT, MACHINE = "198.18.0.1", "198.18.0.2"
_SET_INTERFACE = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
_LONGEST_PACKET_BYTES = 2048
_QUEUE_PACKETS = 200
_WAIT_FOR_GO = 'read -r _; exec "$@"'
_STEP_S, _LIMIT_S = 0.02, 3600


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is like: bits per second and loss in each direction, delay one way."""

    bits_per_s: float
    delay_s: float
    loss: float


def possible() -> str:
    """Why there can be no such link here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux makes networks"
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


def run_behind(link: Link, argv: Sequence[str]) -> bytes:
    """Run a program behind a link to its end; what it printed."""
    command = ["unshare", "--net", "sh", "-c", _WAIT_FOR_GO, "sh", *argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        try:
            _wait_for_network_of(client.pid)
            own = [sys.executable, __file__, str(client.pid), str(link.bits_per_s), str(link.delay_s), str(link.loss)]
            with subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as joint:
                try:
                    assert joint.stdout is not None
                    if joint.stdout.readline() != b"ready\n":
                        raise SystemExit("the link could not be made")
                    said, _ = client.communicate(b"go\n", timeout=_LIMIT_S)
                finally:
                    joint.kill()
        finally:
            client.kill()
    if client.returncode != 0:
        raise SystemExit(f"behind the slow link, {' '.join(argv)} ended with {client.returncode}")
    return said


def _wait_for_network_of(pid: int) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        time.sleep(_STEP_S)


class _Direction:
    """Packets on their way to one end."""

    def __init__(self, link: Link, sink: int, chance: random.Random) -> None:
        self._link = link
        self._sink = sink
        self._chance = chance
        self._free_at = 0.0
        self._waiting: deque[tuple[float, bytes]] = deque()

    def take(self, packet: bytes) -> None:
        """Let a packet onto the link, unless it is lost or the queue is full."""
        if len(self._waiting) >= _QUEUE_PACKETS or self._chance.random() < self._link.loss:
            return
        self._free_at = max(self._free_at, time.monotonic()) + 8 * len(packet) / self._link.bits_per_s
        self._waiting.append((self._free_at + self._link.delay_s, packet))

    def deliver(self) -> float:
        """Let go what has arrived; in how many seconds the next one does."""
        while self._waiting:
            left_s = self._waiting[0][0] - time.monotonic()
            if left_s > 0:
                return left_s
            os.write(self._sink, self._waiting.popleft()[1])
        return 1.0


def _join(pid: int, link: Link) -> None:
    inside = ("nsenter", "--target", str(pid), "--net")
    near, far = _tun(f"edslow{pid % 10**6}"), _tun(f"edfast{pid % 10**6}")
    _ip((), "link", "set", far[1], "netns", str(pid))
    _ip(inside, "link", "set", "lo", "up")
    for where, name, own, peer in (((), near[1], MACHINE, CLIENT), (inside, far[1], CLIENT, MACHINE)):
        _ip(where, "addr", "add", own, "peer", peer, "dev", name)
        _ip(where, "link", "set", name, "mtu", "1500", "up")
    chance = random.Random(1)  # noqa: S311 - the same packets are lost whenever it runs
    ways = {near[0]: _Direction(link, far[0], chance), far[0]: _Direction(link, near[0], chance)}
    poll = select.epoll()
    for end in (*ways, 0):
        poll.register(end, select.EPOLLIN | select.EPOLLHUP)
    print("ready", flush=True)
    with suppress(OSError):  # the program has ended, and its network with it
        while True:
            pause_s = min(way.deliver() for way in ways.values())
            for end, _ in poll.poll(pause_s):
                if end == 0:
                    return
                ways[end].take(os.read(end, _LONGEST_PACKET_BYTES))


def _tun(name: str) -> tuple[int, str]:
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, _SET_INTERFACE, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEADER))
    return end, name


def _ip(where: Sequence[str], *words: str) -> None:
    subprocess.run([*where, "ip", *words], check=True, timeout=10)


if __name__ == "__main__":
    _join(int(sys.argv[1]), Link(bits_per_s=float(sys.argv[2]), delay_s=float(sys.argv[3]), loss=float(sys.argv[4])))
