"""Is the active release always whole? Faults at every step of a push, and damage of every kind, over a real adbd and a real sshd.

``python benchmarks/faults/run.py [WORD…]``: with words, only what has all of them in its description, and nothing is recorded.
Ends with 1 when there was a problem.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(2, str(Path(__file__).resolve().parents[2]))

from integration.faults.campaign import Outcome, chosen, faults_of, inflict, rehearse
from integration.faults.damage import DAMAGES, suffer
from integration.faults.errand import Hand
from integration.faults.site import Site, board_site, phone_site
from integration.faults.situations import Bench
from record import record
from standins.adb_server import AdbServer

from edgedeploy.runners.device_helper import device_helper

SITES_PER_TRANSPORT = 2  # a site mostly waits for the lease of a push that died
Enter = Callable[[], AbstractContextManager[Site]]


class Runs:
    """Faults and damages on several sites at once, told as they come."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._lock = threading.Lock()
        self.outcomes: list[Outcome] = []
        self.damages: Counter[str] = Counter()
        self.problems = 0

    def work(self, number: int, folder: Path, enter: Enter, helper: Path) -> None:
        """One site's share of a transport."""
        done = False
        try:
            with enter() as site, Hand(site.environment) as hand:
                bench = Bench(folder, site, hand, helper)
                situations = {situation.name: situation for situation in bench.situations()}
                rehearsed = [(made, rehearse(bench, made)) for made in situations.values()]
                faults = [fault for made, steps in rehearsed for fault in faults_of(made, steps, site)]
                for fault in chosen(faults, seed=1)[number::SITES_PER_TRANSPORT]:
                    if self._wanted(fault.words):
                        outcome = inflict(bench, situations[fault.situation], fault)
                        with self._lock:
                            self.outcomes.append(outcome)
                        what = f"{site.kind} {fault.words}: {outcome.told}, {outcome.active}, {outcome.seconds:.1f} s"
                        self._tell(what, outcome.problems)
                for damage in DAMAGES[number::SITES_PER_TRANSPORT]:
                    if self._wanted(f"damage {damage.name}"):
                        problems = suffer(bench, situations[damage.situation], damage)
                        with self._lock:
                            self.damages[site.kind] += 1
                        self._tell(f"{site.kind} {damage.name} ({damage.situation})", problems)
            done = True
        finally:
            if not done:
                self._tell("a site broke down", ["see above"])

    def _wanted(self, words: str) -> bool:
        return all(word in words for word in self._words)

    def _tell(self, what: str, problems: Iterable[str]) -> None:
        found = list(problems)
        with self._lock:
            self.problems += bool(found)
            print("PROBLEM" if found else "ok", what, *(f"\n    {problem}" for problem in found), flush=True)


def run_all(runs: Runs) -> None:
    """Start the sites, and wait until all is done."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgedeploy-faults-")))
        helper = device_helper("linux-x86_64", cache_dir=folder, emit=print)
        threads = []
        for number in range(SITES_PER_TRANSPORT):
            adb = stack.enter_context(AdbServer())
            ways: dict[str, Enter] = {
                "adb": lambda adb=adb: phone_site(adb),
                "ssh": lambda number=number: board_site(folder / f"home-{number}"),
            }
            for kind, enter in ways.items():
                own = folder / f"{kind}-{number}"
                own.mkdir()
                threads.append(threading.Thread(target=runs.work, args=(number, own, enter, helper)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def rows(outcomes: Iterable[Outcome]) -> list[dict[str, str | int]]:
    """How many faults of a kind at a step, and how they ended."""
    counted = Counter((o.site, o.fault.step.name, o.fault.kind, int(o.fault.retried), o.told, o.active) for o in outcomes)
    names = ("transport", "step", "kind", "retried", "told", "active")
    return [{**dict(zip(names, key, strict=True)), "faults": count} for key, count in sorted(counted.items())]


def main() -> int:
    """Run everything, and record it."""
    began = time.monotonic()
    runs = Runs(sys.argv[1:])
    run_all(runs)
    outcomes = runs.outcomes
    took_s = time.monotonic() - began
    print(f"{len(outcomes)} faults, {runs.damages.total()} damages, {runs.problems} with problems, {took_s:.0f} s")
    if sys.argv[1:] or not outcomes:
        return int(runs.problems > 0)
    by = {
        "transport": Counter(o.site for o in outcomes),
        "kind": Counter(o.fault.kind for o in outcomes),
        "active": Counter(o.active for o in outcomes),
        "told": Counter(o.told for o in outcomes),
    }
    steps = len({o.fault.step.name for o in outcomes})
    record(
        "faults",
        question="a push disturbed at every step, over real adbd and sshd: is the active release whole, does the next push heal",
        answer=(
            f"{len(outcomes)} faults of {len(by['kind'])} kinds at {steps} steps and {runs.damages.total()} damages: "
            f"{runs.problems} with a problem"
        ),
        figures={
            "faults": len(outcomes),
            "damages": runs.damages.total(),
            "steps": steps,
            "problems": runs.problems,
            "seconds": round(took_s),
            **{f"{what}: {name}": count for what, counts in by.items() for name, count in sorted(counts.items())},
        },
        rows=rows(outcomes),
        samples={kind: [round(o.seconds, 2) for o in outcomes if o.site == kind] for kind in sorted(by["transport"])},
        distributions=["edgedeploy", "paramiko"],
    )
    return int(runs.problems > 0)


if __name__ == "__main__":
    sys.exit(main())
