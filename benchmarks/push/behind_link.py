"""What is measured over a slow link: a program in a network of its own, with its own adb server. Prints what it found."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
import paths  # noqa: F401 - first: makes the others importable
from bundles import artifact_of
from changes import Versions, changes
from first_push import first_push
from relay import relays
from rigs import adb_server, board, board_rig, know, phone, phone_rig
from series import Found
from slow_link import MACHINE, Link, run_behind

SLOW = Link(bits_per_s=20e6, delay_s=0.005, loss=0.01)
WHERE = "at 20 Mbit/s, 5 ms, 1 % loss"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The other end: ports of a phone and a board, who one is there, and files."""

    phone_port: int
    board_port: int
    user: str
    key: str
    folder: str
    size_bytes: int
    new_bytes: int
    rounds: int


def over_slow_link(folder: Path, size_bytes: int, new_bytes: int, rounds: int) -> Found:
    """Measure behind the link, on a phone and a board of this machine."""
    with phone() as first, board() as second, relays([int(first.address.rpartition(":")[2]), second.port], host=MACHINE) as ports:
        know(second.known_hosts.replace(f"[{second.host}]:{second.port} ", f"[{MACHINE}]:{ports[1]} "))
        asked = Asked(
            phone_port=ports[0],
            board_port=ports[1],
            user=second.user,
            key=str(second.identity_file),
            folder=str(folder),
            size_bytes=size_bytes,
            new_bytes=new_bytes,
            rounds=rounds,
        )
        said = run_behind(SLOW, [sys.executable, __file__, msgspec.json.encode(asked).decode()])
    return msgspec.json.decode(said, type=Found)


def main() -> None:
    """Measure as the argument asks."""
    asked = msgspec.json.decode(sys.argv[1], type=Asked)
    found = Found()
    with redirect_stdout(sys.stderr), adb_server() as server:
        address = f"{MACHINE}:{asked.phone_port}"
        server.connect(address)
        rigs = (phone_rig(address, server.adb), board_rig(MACHINE, asked.board_port, asked.user, Path(asked.key)))
        versions = Versions(Path(asked.folder), asked.size_bytes, asked.new_bytes)
        found.add(first_push(rigs, artifact_of(versions.old), None, asked.rounds, where=WHERE))
        found.add(changes(rigs, versions, asked.rounds, where=WHERE))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
