"""One fault after the other: what goes wrong, at which step of which push, and what is found afterwards."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from integration.faults.autopsy import Autopsy
from integration.faults.errand import Came, Errand
from integration.faults.site import Site
from integration.faults.situations import PROJECT, Bench, Situation
from integration.faults.steps import Moment, Step, Strike

Kind = Literal["host", "link", "power", "server", "adb server", "disk", "files", "shell"]

RETRY_FOR_S = 30.0
_UNPLUGGED_S = 0.3
_LONG_S = 30.0
_LARGE_BYTES = 1 << 20
_ON_ITS_WAY_BYTES = 4 << 20
_SETTLE_S = 0.3
_GONE = {"DeviceLostError", "DeviceAbsentError"}
_TOLD: dict[Kind, set[str]] = {
    "host": {"killed"},
    "link": _GONE,
    "power": _GONE,
    "server": _GONE,
    "adb server": _GONE,
    "disk": {"DeviceStorageError", "RunnerError"},
    "files": {"DeviceStorageError", "RunnerError"},
    "shell": {"DeviceRunError"},
}
"""How a push may end that did not go through."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``at_bytes`` of what a step pours have gone through; or its script has come to its changing ``command``. ``retried``: the
    push is to end well by itself."""

    situation: str
    step: Step
    kind: Kind
    moment: Moment
    at_bytes: int = 0
    command: int = 0
    retried: bool = False

    @property
    def words(self) -> str:
        where = f"{self.at_bytes} bytes into" if self.at_bytes else f"command {self.command} of" if self.command else self.moment
        return f"{self.situation}: {self.kind} {where} {self.step.name} (call {self.step.index}){', retried' * self.retried}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``told`` is how the push ended, ``active`` the release after it."""

    site: str
    fault: Fault
    told: str
    active: str
    problems: tuple[str, ...]
    seconds: float


def rehearse(bench: Bench, situation: Situation) -> tuple[Step, ...]:
    """The steps of a push that nothing disturbs."""
    bench.site.restore(situation.before)
    bench.cache(situation.knows)
    came = bench.do(replace(situation.errand, counting=True))
    assert came.passed, f"{situation.name}: {came}"
    found = Autopsy(store=bench.site.store, project=PROJECT, releases=situation.releases)
    assert (found.active, found.problems, left := found.leftovers()) == (found.active, [], []), (
        situation.name,
        found.problems,
        left,
    )
    return came.steps


def faults_of(situation: Situation, steps: Sequence[Step], site: Site) -> Iterator[Fault]:
    """Everything that can go wrong in one push."""
    for step in steps:
        fault = Fault(situation=situation.name, step=step, kind="host", moment="before")
        for moment in ("before", "in", "after"):
            yield replace(fault, moment=moment)
            yield replace(fault, kind="link", moment=moment)
        for kind in ("power", "server", *(("adb server",) if site.kind == "adb" else ())):
            yield replace(fault, kind=kind, moment="in")
        if step.name not in {"connect", "probe", "fetch"}:
            yield replace(fault, kind="disk")
            yield replace(fault, kind="files")
        if step.poured_bytes > _LARGE_BYTES:
            for kind in ("link", "power"):
                yield from (replace(fault, kind=kind, at_bytes=step.poured_bytes * part // 10) for part in (1, 5, 9))
        yield from (replace(fault, kind="shell", command=number + 1) for number in range(step.commands))
        for kind in ("link", "power", "server") if not situation.errand.back else ():
            yield replace(fault, kind=kind, moment="in", retried=True)


def chosen(faults: Sequence[Fault], *, seed: int) -> list[Fault]:
    """Of each kind one per step, moment and command, from whichever push."""
    mixed = list(faults)
    random.Random(seed).shuffle(mixed)
    found = {
        (f.kind, f.step.name, f.moment, f.at_bytes * 10 // max(1, f.step.poured_bytes), f.command, f.retried): f for f in mixed
    }
    return sorted(found.values(), key=lambda f: (f.situation, f.step.index))


def inflict(bench: Bench, situation: Situation, fault: Fault) -> Outcome:
    """Disturb a push, look at the device, push again, look once more."""
    site = bench.site
    began = time.monotonic()
    site.restore(situation.before)
    bench.cache(situation.knows)
    strike = Strike(index=fault.step.index, moment=fault.moment, command=fault.command)
    errand = replace(situation.errand, strike=strike, retry_for_s=RETRY_FOR_S if fault.retried else 0)
    hand = _Hand(site, fault)
    came = bench.hand.do(errand, hand.strike, delay_s=fault.step.seconds * random.uniform(0.1, 0.9))
    hand.over()
    site.mend()
    problems = [*_complaints(came, fault)]
    found = Autopsy(store=site.store, project=PROJECT, releases=situation.releases, damaged=situation.damaged)
    active = found.active
    if active == "none" and situation.old is not None:
        problems.append("no release is active any more")
    problems += found.problems
    if fault.at_bytes > _LARGE_BYTES and not came.passed:
        problems += _not_kept(site, fault)
    problems += _next(bench, situation.after, situation)
    return Outcome(
        site=site.kind,
        fault=fault,
        told=came.told,
        active=active,
        problems=tuple(problems),
        seconds=time.monotonic() - began,
    )


def _not_kept(site: Site, fault: Fault) -> list[str]:
    """What was received before a cut is to be taken up again, but for what was still on its way."""
    time.sleep(_SETTLE_S)
    kept = max((path.lstat().st_size for path in (site.store / "incoming").iterdir()), default=0)
    return [f"only {kept} bytes were kept"] if kept < fault.at_bytes - _ON_ITS_WAY_BYTES else []


def _next(bench: Bench, errand: Errand, situation: Situation) -> list[str]:
    came = bench.do(replace(errand, retry_for_s=RETRY_FOR_S))  # as anybody pushes; a server is not up again at once
    if not came.passed:
        return [f"the next push: {came.told} {came.crashed} {[failure.text for failure in came.failures]}"]
    found = Autopsy(store=bench.site.store, project=PROJECT, releases={"final": situation.final})
    active = found.active
    problems = [f"after the next push: {problem}" for problem in found.problems]
    if active != "final":
        problems.append(f"after the next push the release is {active}")
    left = found.leftovers()
    return problems + ([f"left over after the next push: {', '.join(left)}"] if left else [])


def _complaints(came: Came, fault: Fault) -> Iterator[str]:
    if came.crashed:
        yield came.crashed
    if fault.retried and not came.passed:
        yield f"did not end well by itself: {came.told} {[failure.text for failure in came.failures]}"
    elif not came.passed and not set(came.told.split("/")) <= _TOLD[fault.kind] | {"pass"}:
        yield f"told as {came.told}: {[failure.text for failure in came.failures]}"
    if came.seconds > _LONG_S:
        yield f"took {came.seconds:.0f} s"


class _Hand:
    """Does what a fault is, once; what it does later is done when ``over`` returns."""

    def __init__(self, site: Site, fault: Fault) -> None:
        self._site, self._fault = site, fault
        self._ended = threading.Event()
        self._later: threading.Thread | None = None

    def strike(self, pid: int) -> None:
        site, fault = self._site, self._fault
        if fault.at_bytes:
            site.cable.pull_cable(after_bytes=fault.at_bytes)
            self._afterwards(self._cut_power_when_pulled if fault.kind == "power" else lambda: None)
            return
        match fault.kind:
            case "host":
                os.kill(pid, signal.SIGKILL)
            case "link":
                site.pull()
            case "power":
                site.cut_power()
            case "server":
                site.kill_server()
            case "adb server":
                site.restart_adb_server()
            case "disk":
                site.fill_bytes()
            case "files":
                site.fill_files()
        if fault.retried:
            self._afterwards(self._mend_soon)

    def over(self) -> None:
        self._ended.set()
        if self._later is not None:
            self._later.join()

    def _afterwards(self, what: Callable[[], None]) -> None:
        self._later = threading.Thread(target=what)
        self._later.start()

    def _mend_soon(self) -> None:
        time.sleep(_UNPLUGGED_S)
        self._site.mend()

    def _cut_power_when_pulled(self) -> None:
        while not self._ended.wait(0.01):
            if not self._site.cable.plugged:
                self._site.cut_power()
                return
