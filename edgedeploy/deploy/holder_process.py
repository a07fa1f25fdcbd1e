"""Tokens of leases that say which process has them: one of this machine that has ended holds nothing any more.

A push that was cut off or killed cannot give its lease back. Its machine knows that it is gone: there, nobody has to
wait until it expires.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

_PARTS = 4  # something random, the machine, the process, when it began


def process_token() -> str:
    """A token of this process. Where the system has no ``/proc``, one that says nothing."""
    began = _began(os.getpid())
    machine = _machine()
    return f"{secrets.token_hex(8)}-{machine}-{os.getpid()}-{began}" if began and machine else secrets.token_hex(8)


def has_ended(token: str) -> bool:
    """Whether a token is of a process of this machine, since it was started, that is no more. False where that is not known."""
    parts = token.split("-")
    if len(parts) != _PARTS or parts[1] != _machine() or not parts[2].isdigit():
        return False
    return _began(int(parts[2])) != parts[3]


def _machine() -> str:
    """This machine since its start, as the processes that see each other do; empty where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _began(pid: int) -> str:
    """When a process began, in ticks since the start of the machine: a number that comes again has another."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name, which may hold anything, is in parentheses
    return "" if fields[0] in {"Z", "X"} else fields[19]
