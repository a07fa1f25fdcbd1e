"""Pushes that are disturbed, and devices that are damaged: some of each kind. ``make bench-faults`` does all of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from integration.faults.campaign import Fault, faults_of, inflict, rehearse
from integration.faults.damage import CHANGED, DAMAGES, FIRST, suffer
from integration.faults.errand import Hand
from integration.faults.site import Site, board_site, phone_site
from integration.faults.situations import Bench, Situation
from standins.adb_server import AdbServer

pytestmark = pytest.mark.standin

# What happens, when, and at which step of which push; a part of what the fault is called.
FAULTS = (
    "first push: host in incoming.receive",
    "first push: power 3151900 bytes into incoming.receive",
    "first push: files before store.activate",
    "a new version, by its changes: host after store.activate",
    "a new version, by its changes: link in store.activate",
    "a new version, by its changes: server in delta.assemble",
    "a new version, by its changes: disk before delta.assemble",
    "a new version, by its changes: shell command 14 of store.activate",
    "a new version, by its changes: shell command 20 of store.activate",
    "a new version, by its changes: host before lease.release",
    "a new version, by its changes: link in delta.assemble (call 5), retried",
)
ADB_FAULTS = ("first push: adb server in incoming.receive",)
DAMAGED = ("a bit of a blob turned, which changes are taken from", "the manifest leads out of the release", "current is garbage")

Problems = dict[str, list[str]]


class _Chosen:
    """What goes wrong on one device, all in one go: both devices at once take the time of one."""

    def __init__(self, enter: Callable[[], AbstractContextManager[Site]], folder: Path) -> None:
        self._enter = enter
        self._folder = folder

    def suffered(self) -> Problems:
        """What was wrong after each."""
        with self._enter() as site, Hand(site.environment) as hand:
            bench = Bench(self._folder, site, hand, None)
            situations = {situation.name: situation for situation in bench.situations(FIRST, CHANGED)}
            faults = [fault for made in situations.values() for fault in faults_of(made, rehearse(bench, made), site)]
            found: Problems = {}
            for wanted in (*FAULTS, *(ADB_FAULTS if site.kind == "adb" else ())):
                fault = _named(faults, wanted)
                outcome = inflict(bench, situations[fault.situation], fault)
                found[wanted] = list(outcome.problems)
            found |= self._damaged(bench, situations)
        return found

    def _damaged(self, bench: Bench, situations: dict[str, Situation]) -> Problems:
        chosen = [damage for damage in DAMAGES if damage.name in DAMAGED and damage.situation == CHANGED]
        return {damage.name: suffer(bench, situations[CHANGED], damage) for damage in chosen}


def _named(faults: list[Fault], words: str) -> Fault:
    return next(fault for fault in faults if words in fault.words)


@pytest.fixture(scope="module")
def suffered(adb_server: AdbServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Problems]]:
    """By transport."""
    folder = tmp_path_factory.mktemp("faults")
    ways: dict[str, Callable[[], AbstractContextManager[Site]]] = {
        "adb": lambda: phone_site(adb_server),
        "ssh": lambda: board_site(folder / "home"),
    }
    with ThreadPoolExecutor(len(ways)) as pool:
        done = {}
        for kind, enter in ways.items():
            (folder / kind).mkdir()
            done[kind] = pool.submit(_Chosen(enter, folder / kind).suffered)
    return done


@pytest.mark.parametrize("words", [*FAULTS, *DAMAGED])
@pytest.mark.parametrize("kind", ["adb", "ssh"])
def test_the_release_is_whole_and_the_next_push_heals(suffered: dict[str, Future[Problems]], kind: str, words: str) -> None:
    assert suffered[kind].result()[words] == []


@pytest.mark.parametrize("words", ADB_FAULTS)
def test_the_adb_server_of_this_machine_may_die(suffered: dict[str, Future[Problems]], words: str) -> None:
    assert suffered["adb"].result()[words] == []
