"""Eight devices of which one says nothing any more in the middle of a file: the others do not notice, and it is given up."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from integration.faults.situations import ABI
from integration.transports.rig import board_device, phone_device
from standins.adb_server import AdbServer
from standins.board import SshBoard
from standins.enclosure import Enclosure
from standins.phone import WORKDIR, Phone
from unit.stages.planned import planned, prepared, runner, target

from edgedeploy.cache import Cache
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import ignore
from edgedeploy.domain.measurement import Agreement
from edgedeploy.domain.project import Patience
from edgedeploy.domain.result import RunResult, Verification
from edgedeploy.domain.target import Os
from edgedeploy.stages.deliver import Delivery, deliver
from edgedeploy.stages.run_result import Ready

pytestmark = pytest.mark.standin
COUNT = 8
SIZE_BYTES = 8 << 20
HANGING = 3
GIVEN_UP_S = 30
DISK_BYTES = 64 << 20
_HOST = Verification(host=Agreement(max_abs_error=0.0, cosine=1.0, sqnr_db=None, exact=True))


@dataclass(frozen=True, kw_only=True)
class Fleet:
    os: Os
    kind: str
    workdir: str
    devices: tuple[Device, ...]
    cables: tuple[Enclosure, ...]


@contextmanager
def phones(adb: AdbServer) -> Iterator[Fleet]:
    with ExitStack() as stack:
        made = [stack.enter_context(Phone(data_size_bytes=DISK_BYTES)) for _ in range(COUNT)]
        devices = tuple(_named(phone_device(phone), number) for number, phone in enumerate(made))
        for device in devices:
            adb.connect(device.address)
        yield Fleet(
            os="android",
            kind="adb",
            workdir=f"{WORKDIR}/edgedeploy",
            devices=devices,
            cables=tuple(phone.cable for phone in made),
        )


@contextmanager
def boards() -> Iterator[Fleet]:
    with ExitStack() as stack:
        made = [stack.enter_context(SshBoard(home_size_bytes=DISK_BYTES)) for _ in range(COUNT)]
        (Path.home() / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (Path.home() / ".ssh/known_hosts").write_text("".join(board.known_hosts for board in made), encoding="ascii")
        devices = tuple(_named(board_device(board), number) for number, board in enumerate(made))
        yield Fleet(os="linux", kind="ssh", workdir="~/edgedeploy", devices=devices, cables=tuple(board.cable for board in made))


def _named(device: Device, number: int) -> Device:
    return msgspec.structs.replace(device, name=f"device-{number}")


@dataclass
class Push:
    """One push to all of them; ``ended_s`` says when each result was there."""

    fleet: Fleet
    folder: Path

    def __post_init__(self) -> None:
        self.ended_s: dict[str, float] = {}
        self._began = time.monotonic()

    def __call__(self, model: str) -> tuple[RunResult, ...]:
        made = prepared(self.folder / model, planned(model), content=random.Random(model).randbytes(SIZE_BYTES))
        bundle = runner(self.folder / "runner", content=b"#!/bin/sh\n", start=("sh", "{dir}/run"))
        kind = self.fleet.kind
        delivery = Delivery(
            project="demo",
            target=target(os=self.fleet.os, abi=ABI[kind], transports=(kind,), workdir=self.fleet.workdir),
            ready=(Ready(prepared=made, host=_HOST, runner=bundle, runner_abi=ABI[kind]),),
            measured=False,
            patience=Patience(retry_for_s=0),
        )
        self._began = time.monotonic()
        return deliver(delivery, self.fleet.devices, Cache(self.folder / "cache"), ignore, keep=self._keep)

    def _keep(self, result: RunResult) -> None:
        self.ended_s[result.device] = time.monotonic() - self._began


def check(fleet: Fleet, folder: Path) -> None:
    usual, disturbed = Push(fleet, folder), Push(fleet, folder)
    assert [result.error for result in usual("first")] == [None] * COUNT
    fleet.cables[HANGING].stall(after_bytes=SIZE_BYTES // 2)
    results = disturbed("second")
    name = fleet.devices[HANGING].name
    assert [result.device for result in results if result.error] == [name]
    assert disturbed.ended_s.pop(name) < GIVEN_UP_S
    assert max(disturbed.ended_s.values()) < 2 * max(usual.ended_s.values()) + 2


def test_one_of_eight_that_hangs_is_given_up_and_holds_up_no_other(adb_server: AdbServer, tmp_path: Path) -> None:
    with phones(adb_server) as first, boards() as second, ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(check, fleet, tmp_path / fleet.kind) for fleet in (first, second)]:
            done.result()
