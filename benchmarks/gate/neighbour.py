"""A neighbour that computes for a while and rests for a while: ``python neighbour.py SEED``, until it is killed."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time

_SHORTEST_S, _LONGEST_S = 0.05, 4.0


def main() -> None:
    """One core's worth of work at times, none at others; ends with whoever started it."""
    rng = random.Random(int(sys.argv[1]))  # noqa: S311 - a plan, not secrets
    parent = os.getppid()
    block = bytes(8 << 20)  # larger than a second-level cache: memory is shared as well
    while os.getppid() == parent:
        until = time.monotonic() + _spell_s(rng)
        while time.monotonic() < until:
            hashlib.blake2b(block).digest()
        time.sleep(_spell_s(rng))


def _spell_s(rng: random.Random) -> float:
    """Short spells as often as long ones."""
    return _SHORTEST_S * (_LONGEST_S / _SHORTEST_S) ** rng.random()


if __name__ == "__main__":
    main()
