"""The steps of a push: every call of a connection, by the name of what it does; watched, counted, and struck at one of them."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import edgedeploy.deploy
from edgedeploy.deploy.device_shell import as_sent
from edgedeploy.domain.device import Device
from edgedeploy.ports import ByteProgress, Completed, Connection, Feed, Transport

T = TypeVar("T")
_SHORT = 80  # a probe's script is longer, and has no name in deploy/
Moment = Literal["before", "in", "after"]

# What changes something on a device. A function of the same name counts the call, and ends the script at a given one, as a
# power cut would: no command of it runs any more, and none undoes what was done.
_CHANGING = ("cat", "chmod", "dd", "ln", "mkdir", "mv", "rm")
_COUNTING = "edg=0; trap 'echo \"edg $edg\" >&2' EXIT\n" + "".join(
    f'{name}() {{ edg=$((edg+1)); command {name} "$@"; }}\n' for name in _CHANGING
)
_COUNTED = re.compile(rb"edg (\d+)\n")


def _dying_at(command: int) -> str:
    die = f'edg=$((edg+1)); [ "$edg" -ne {command} ] || kill -s KILL $$'
    return "edg=0\n" + "".join(f'{name}() {{ {die}; command {name} "$@"; }}\n' for name in _CHANGING)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A call that was made. ``commands`` of its script change something on the device; ``poured_bytes`` are of its stdin."""

    index: int
    name: str
    seconds: float
    poured_bytes: int = 0
    commands: int = 0


@dataclass(frozen=True, kw_only=True)
class Strike:
    """When to stop and let something happen: at the call of this number. ``command``: its script dies at that one of its own."""

    index: int
    moment: Moment = "before"
    command: int = 0


class Tell(Protocol):
    """Says that the moment has come; returns, unless ``waits`` is false, when what was to happen has."""

    def __call__(self, *, waits: bool) -> None: ...


@dataclass
class Watch:
    """Over all connections that the thread of a push opens: its lease is renewed by another one, at any time."""

    tell: Tell
    strike: Strike | None = None
    counting: bool = False
    steps: list[Step] = field(default_factory=list)
    _thread: int = 0

    def transport(self, real: Transport) -> Transport:
        return _WatchedTransport(real, self)

    def is_ours(self) -> bool:
        self._thread = self._thread or threading.get_ident()
        return self._thread == threading.get_ident()

    def script(self, argv: Sequence[str]) -> Sequence[str]:
        if argv[:2] != ["sh", "-c"] or argv[2] not in _scripts():
            return argv
        if self.strike is not None and self.strike.command and self.strike.index == len(self.steps):
            return [*argv[:2], _dying_at(self.strike.command) + argv[2], *argv[3:]]
        return [*argv[:2], _COUNTING + argv[2], *argv[3:]] if self.counting else argv

    def call(self, name: str, made: Callable[[], T], *, poured_bytes: int = 0) -> T:
        step = Step(index=len(self.steps), name=name, seconds=0, poured_bytes=poured_bytes)
        here = self.strike is not None and self.strike.index == step.index and not self.strike.command
        moment = self.strike.moment if self.strike is not None and here else None
        began = time.monotonic()
        self.steps.append(step)
        if moment in {"before", "in"}:
            self.tell(waits=moment == "before")
        try:
            done = made()
        finally:
            self.steps[step.index] = step = replace(step, seconds=time.monotonic() - began)
        if moment == "after":
            self.tell(waits=True)
        return self._counted(done, step) if isinstance(done, Completed) and self.counting else done  # type: ignore[return-value]

    def _counted(self, done: Completed, step: Step) -> Completed:
        if found := _COUNTED.search(done.stderr):
            self.steps[step.index] = replace(step, commands=int(found[1]))
        return Completed(exit_code=done.exit_code, stdout=done.stdout, stderr=_COUNTED.sub(b"", done.stderr))


class _WatchedTransport:
    def __init__(self, real: Transport, watch: Watch) -> None:
        self.name = real.name
        self._real, self._watch = real, watch

    def discover(self) -> tuple[Device, ...]:
        return self._real.discover()

    def state(self, device: Device) -> Device:
        return self._real.state(device)

    def connect(self, device: Device) -> Connection:
        if not self._watch.is_ours():
            return self._real.connect(device)
        return _WatchedConnection(self._watch.call("connect", lambda: self._real.connect(device)), self._watch)


class _WatchedConnection:
    def __init__(self, real: Connection, watch: Watch) -> None:
        self._real, self._watch = real, watch

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        words = self._watch.script(list(argv))
        return self._watch.call(step_name(argv), lambda: self._real.run(words, timeout_s=timeout_s, stdin=stdin))

    def pour(self, argv: Sequence[str], source: Feed, *, quiet_s: float, progress: ByteProgress) -> Completed:
        words = self._watch.script(list(argv))
        size_bytes = os.fstat(source.fileno()).st_size  # 0 for a pipe
        return self._watch.call(
            step_name(argv),
            lambda: self._real.pour(words, source, quiet_s=quiet_s, progress=progress),
            poured_bytes=size_bytes,
        )

    def fetch(self, remote: str, local: Path) -> None:
        self._watch.call("fetch", lambda: self._real.fetch(remote, local))

    def close(self) -> None:
        self._real.close()


def step_name(argv: Sequence[str]) -> str:
    """``store.activate`` for the script of that name in ``deploy/``; other scripts by their first words, programs by theirs."""
    if list(argv[:2]) == ["sh", "-c"]:
        words = " ".join(argv[2].removeprefix(as_sent("")).split())
        return _scripts().get(argv[2]) or ("probe" if len(words) > _SHORT else words)
    return Path(argv[0]).name


@cache
def _scripts() -> dict[str, str]:
    """Every text of the modules in ``deploy/`` that could be a script."""
    found = {}
    for module in pkgutil.iter_modules(edgedeploy.deploy.__path__):
        names = vars(importlib.import_module(f"edgedeploy.deploy.{module.name}"))
        found |= {
            as_sent(text): f"{module.name}.{name.strip('_').lower()}"
            for name, text in names.items()
            if isinstance(text, str) and name.isupper()
        }
    return found
