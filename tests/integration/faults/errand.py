"""One push, or one step back, in a process of its own that may be killed: what is asked of it, and what comes of it.

``Hand`` starts a process that has imported everything and opens no device; each errand is a fork of it. Links are pulled and
powers cut on the asking side, when the errand says that the moment has come.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from integration.faults.steps import Step, Strike, Watch

from edgedeploy import registry
from edgedeploy.cache import Cache
from edgedeploy.deploy import compression
from edgedeploy.deploy.lease_keeper import claim
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Event, Note
from edgedeploy.domain.project import Patience
from edgedeploy.domain.target import Target
from edgedeploy.errors import EdgedeployError
from edgedeploy.stages import aboard, deliver, push, reach
from edgedeploy.stages.run_result import Ready

TTL_S = 2
_TESTS = Path(__file__).resolve().parents[2]
_LIMIT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Errand:
    """Push ``ready``, or with ``back`` switch to the release before.

    ``helper`` is the device helper's file on this machine. ``packed``: as over a link that is so slow that compression pays.
    """

    device: Device
    target: Target
    project: str
    ready: tuple[Ready, ...] = ()
    back: bool = False
    cache: Path
    helper: Path | None = None
    packed: bool = False
    wait_s: float = 0
    retry_for_s: float = 0
    strike: Strike | None = None
    counting: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    kind: str
    what: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came of an errand. Of one that was killed, nothing did."""

    killed: bool = False
    crashed: str = ""
    failures: tuple[Failure, ...] = ()
    statuses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    seconds: float = 0

    @property
    def passed(self) -> bool:
        return not self.killed and not self.crashed and not self.failures and set(self.statuses) <= {"pass"}

    @property
    def told(self) -> str:
        """One word."""
        if self.killed or self.crashed:
            return "killed" if self.killed else "crashed"
        return "/".join(sorted({failure.kind for failure in self.failures} or set(self.statuses)))


@dataclass(frozen=True)
class _Begun:
    pid: int


@dataclass(frozen=True)
class _Moment:
    waits: bool


class Hand:
    """Does errands, one after the other."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self._pipe = Pipe(ours.detach())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "integration.faults.errand", str(theirs.fileno())],
            env={**os.environ, **environment, "PYTHONPATH": f"{_TESTS}{os.pathsep}{_TESTS.parent}"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self._pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()

    def do(self, errand: Errand, act: Callable[[int], None] = lambda _pid: None, *, delay_s: float = 0) -> Came:
        """Have it done. ``act`` is called with the errand's process id when the moment has come; ``delay_s`` later in a call."""
        began = time.monotonic()
        self._pipe.send(errand)
        came = Came(killed=True)
        pid = 0
        while True:
            if not self._pipe.poll(_LIMIT_S):
                os.kill(pid, signal.SIGABRT)
                raise TimeoutError(f"an errand does not end: {errand.strike}")
            match self._pipe.recv():
                case _Begun(pid=pid):
                    pass
                case _Moment(waits=True):
                    act(pid)
                    with suppress(BrokenPipeError):
                        self._pipe.send(None)
                case _Moment():
                    time.sleep(delay_s)
                    act(pid)
                case Came() as came:
                    pass
                case None:
                    return replace(came, seconds=time.monotonic() - began)


# ------------------------------------------------------------------------------------------------ in its own process


@dataclass
class _Told:
    notes: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)


def _perform(errand: Errand, pipe: Pipe) -> Came:
    def tell(*, waits: bool) -> None:
        pipe.send(_Moment(waits))
        if waits:
            pipe.recv()

    watch = Watch(tell=tell, strike=errand.strike, counting=errand.counting)
    real = registry.transport
    registry.transport = lambda name: watch.transport(real(name))
    told = _Told()
    try:
        came = _step_back(errand, told) if errand.back else _push(errand, told)
    except EdgedeployError as error:
        came = Came(failures=(Failure(kind=type(error).__name__, what=error.what, text=str(error)),))
    except Exception:  # noqa: BLE001 - whatever it is, it is to be reported
        came = Came(crashed=traceback.format_exc())
    return replace(came, steps=tuple(watch.steps), notes=tuple(told.notes))


def _push(errand: Errand, told: _Told) -> Came:
    deliver.claim = lambda purpose, *, wait_s: msgspec.structs.replace(claim(purpose, wait_s=wait_s), ttl_s=TTL_S)
    aboard.device_helper = lambda *_about, **_how: errand.helper
    push._HELPER_PAYS_BYTES = 1 if errand.helper else sys.maxsize
    if errand.packed:
        compression.LEAST_FILE_BYTES, compression.PROBE_BYTES = 1, 1 << 20
        compression.pays = lambda *_about: True
    delivery = deliver.Delivery(
        project=errand.project,
        target=errand.target,
        ready=errand.ready,
        measured=True,
        patience=Patience(wait_s=errand.wait_s, retry_for_s=errand.retry_for_s),
    )
    results = deliver.deliver(delivery, [errand.device], Cache(errand.cache), told, keep=lambda _result: None)
    failures = [
        Failure(kind=result.error.kind, what=result.error.what, text=msgspec.json.encode(result.error).decode())
        for result in results
        if result.error is not None
    ]
    return Came(statuses=tuple(result.verdict.status for result in results), failures=tuple(failures))


def _step_back(errand: Errand, told: _Told) -> Came:
    opened = reach.Open()
    wanted = msgspec.structs.replace(claim("roll back", wait_s=errand.wait_s), ttl_s=TTL_S)
    device = errand.device
    with opened.connection(device) as connection, opened.lease(connection, device, errand.target, wanted, told):
        Store(connection, device=device.name, workdir=errand.target.workdir, project=errand.project).roll_back()
    return Came(statuses=("pass",))


def _serve(pipe: Pipe) -> None:
    registry.transport("ssh")
    registry.transport("adb")
    while True:
        try:
            errand = pipe.recv()
        except EOFError:
            return
        if errand is None:  # an answer to somebody who was killed
            continue
        pid = os.fork()
        if pid == 0:
            try:
                pipe.send(_Begun(os.getpid()))
                pipe.send(_perform(errand, pipe))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        pipe.send(None)


if __name__ == "__main__":
    # Under its real name: what it sends is unpickled there.
    from integration.faults import errand as here

    here._serve(Pipe(int(sys.argv[1])))
