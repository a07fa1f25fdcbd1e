"""Eight devices at once against one alone, when they share no link."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

from commands import push
from relay import relays
from rigs import Rig, adb_server, board, board_rig, know, phone, phone_rig
from series import Found, in_turn

COUNT = 8
LINK_BYTES_PER_S = 4e6


def fleet(bundle: Path, rounds: int) -> Found:
    """The same bundle to one device, each in its turn, and to all of them: whole commands."""
    found = Found()
    for kind in (_phones, _boards):
        with kind() as rigs:
            turn = cycle(rigs)
            one, all_ = f"1 device over {rigs[0].name}", f"{COUNT} devices over {rigs[0].name}"

            def emptied(rigs: list[Rig] = rigs) -> None:
                for rig in rigs:
                    rig.empty()

            ways = {one: lambda turn=turn: push(bundle, [next(turn)]).seconds, all_: lambda rigs=rigs: push(bundle, rigs).seconds}
            found.samples |= in_turn(rounds, ways, between=emptied)  # type: ignore[arg-type]
            ratio = found.ratio(f"{all_}, time over that of one", all_, one)
            found.words.append(f"{all_} {ratio:.2f}× the time of one")
    return found


@contextmanager
def _phones() -> Iterator[list[Rig]]:
    with ExitStack() as stack:
        server = stack.enter_context(adb_server())
        phones = [stack.enter_context(phone()) for _ in range(COUNT)]
        inner = [int(one.address.rpartition(":")[2]) for one in phones]
        ports = stack.enter_context(relays(inner, bytes_per_s=LINK_BYTES_PER_S))
        for port in ports:
            server.connect(f"127.0.0.1:{port}")
        yield [phone_rig(f"127.0.0.1:{port}", server.adb, name=f"phone-{number}") for number, port in enumerate(ports)]


@contextmanager
def _boards() -> Iterator[list[Rig]]:
    with ExitStack() as stack:
        boards = [stack.enter_context(board()) for _ in range(COUNT)]
        ports = stack.enter_context(relays([one.port for one in boards], bytes_per_s=LINK_BYTES_PER_S))
        rigs = []
        for number, (one, port) in enumerate(zip(boards, ports, strict=True)):
            know(one.known_hosts.replace(f":{one.port} ", f":{port} "))
            rigs.append(board_rig(one.host, port, one.user, one.identity_file, name=f"board-{number}"))
        yield rigs
