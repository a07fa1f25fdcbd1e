"""What runs on a device ends when nobody waits for it any more: hosts that are killed, cables that are pulled, loads that run on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.transports.rig import Rig, phone_device
from standins.phone import WORKDIR, Phone

from edgedeploy.deploy.guard import guarded
from edgedeploy.domain.mode import Concurrent
from edgedeploy.errors import DeviceError
from edgedeploy.ports import Connection
from edgedeploy.probes.background import beside_load, early_end
from edgedeploy.stages.beside import Beside
from edgedeploy.transports.adb import AdbTransport

# A host that starts what a line of Python makes, over a connection of its own, and tells when it is under way.
HOST = """
import sys
from edgedeploy.domain.device import Device
from edgedeploy.transports.{module} import {kind}
from edgedeploy.decoding import decode
connection = {kind}().connect(decode(sys.argv[1], Device))
print("connected", flush=True)
connection.run(sys.argv[2:], timeout_s=60)
"""
HOSTS = {"local": "LocalTransport", "ssh": "SshTransport", "adb": "AdbTransport"}


def beats(connection: Connection, file: str) -> int:
    """How often the program has written since it began."""
    done = connection.run(["sh", "-c", 'wc -c <"$1"', "sh", file], timeout_s=20)
    return int(done.stdout or b"0")


def eventually(condition: Callable[[], bool], *, within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.3)


def stands_still(connection: Connection, file: str) -> Callable[[], bool]:
    seen = [-1]

    def look() -> bool:
        time.sleep(1.2)
        before, seen[0] = seen[0], beats(connection, file)
        return before == seen[0]

    return look


def lease(connection: Connection, folder: str) -> str:
    """A lease that is good for some seconds more, and that nobody renews. An adb client outlives who started it."""
    made = 'mkdir -p "$1" && read -r up rest </proc/uptime && ln -s "boot $((${up%.*} + 5)) 60 mine {}" "$1/1"'
    connection.run(["sh", "-c", made, "sh", folder], timeout_s=20)
    return folder


def test_a_host_that_is_killed_leaves_nothing_running(rig: Rig) -> None:
    import msgspec

    file = f"{rig.folder}/beats"
    beating = ["sh", "-c", 'while :; do echo >>"$1"; sleep 0.2; done', "sh", file]
    leases = lease(rig.connection, f"{rig.folder}/leases") if rig.kind == "adb" else f"{rig.folder}/none"
    argv = guarded(beating, limit_s=60, leases=leases, log=f"{rig.folder}/why")
    host = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOST.format(module=rig.kind, kind=HOSTS[rig.kind]),
            msgspec.json.encode(rig.device).decode(),
            *argv,
        ],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"connected\n"
    eventually(lambda: beats(rig.connection, file) > 2)
    host.kill()
    host.wait(timeout=20)
    host.stdout.close()
    eventually(stands_still(rig.connection, file))


def test_what_ends_by_itself_is_not_held_up(rig: Rig) -> None:
    began = time.monotonic()
    ended = rig.connection.run(
        guarded(["sh", "-c", "echo out; echo err >&2; exit 7"], limit_s=60, leases=f"{rig.folder}/none", log=f"{rig.folder}/why"),
        timeout_s=30,
    )
    assert (ended.exit_code, ended.stdout, ended.stderr) == (7, b"out\n", b"err\n")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("why", ["the time is over", "the lease is over"])
def test_nothing_runs_for_longer_than_it_may(rig: Rig, why: str) -> None:
    leases = f"{rig.folder}/leases"
    made = 'mkdir -p "$1" && ln -sfn "boot 99999999 60 mine {}" "$1/2" && ln -sfn "boot 3 60 mine {}" "$1/3"'
    rig.connection.run(["sh", "-c", made, "sh", leases], timeout_s=20)
    limit_s, folder = (2, f"{rig.folder}/none") if why == "the time is over" else (51, leases)  # it looks when 50 s are left
    began = time.monotonic()
    ended = rig.connection.run(
        [
            "sh",
            "-c",
            '"$@"; echo "code $?"',
            "sh",
            "setsid",
            "-w",
            *guarded(["sleep", "30"], limit_s=limit_s, leases=folder, log=f"{rig.folder}/why"),
        ],
        timeout_s=40,
    )
    assert ended.stdout == b"code 137\n"
    said = rig.connection.run(["cat", f"{rig.folder}/why"], timeout_s=20).stdout.decode()
    assert said == ("its time was over\n" if why == "the time is over" else "the device's lease was over\n")
    assert time.monotonic() - began < 10


def test_a_cable_that_is_pulled_ends_a_program(phone: Phone) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    file = phone.workdir / "beats"
    beating = ["sh", "-c", 'while :; do echo >>"$1"; sleep 0.2; done', "sh", f"{WORKDIR}/beats"]
    leases = lease(connection, f"{WORKDIR}/leases")
    pull = threading.Timer(0.7, phone.pull_cable)
    pull.start()
    with pytest.raises(DeviceError):
        connection.run(guarded(beating, limit_s=60, leases=leases, log=f"{WORKDIR}/why"), timeout_s=40)
    pull.join()
    size_bytes = [-1]

    def stands_still() -> bool:
        time.sleep(1.2)
        before, size_bytes[0] = size_bytes[0], file.stat().st_size
        return before == size_bytes[0]

    eventually(stands_still, within_s=40)


# Loads.


def with_load(rig: Rig, load: Concurrent) -> Beside:
    report = f"{rig.folder}/load.txt"
    return Beside(rig.connection, report, lambda argv, _limit_s: beside_load(argv, load, report))


def test_a_load_is_there_meanwhile_and_gone_afterwards(rig: Rig) -> None:
    file = f"{rig.folder}/beats"
    command = f'while :; do echo >>"{file}"; sleep 0.1; done'
    beside = with_load(rig, Concurrent(busy=1, memory=1, command=command))
    ended = beside.run(["sh", "-c", f'wc -c <"{file}"; sleep 1; wc -c <"{file}"; echo hm >&2; exit 3'], timeout_s=30)
    assert (ended.exit_code, ended.stderr) == (3, b"hm\n")
    before, after = map(int, ended.stdout.split())
    assert 0 < before < after
    assert early_end(beside.written()) == ""
    still = beats(rig.connection, file)
    time.sleep(1)
    assert beats(rig.connection, file) == still


def test_a_load_that_ends_early_is_told(rig: Rig) -> None:
    beside = with_load(rig, Concurrent(busy=1, command="echo no such thing >&2; exit 4"))
    assert beside.run(["sleep", "1"], timeout_s=30).exit_code == 0
    assert early_end(beside.written()) == "exit code 4: no such thing"


def test_a_load_ends_when_what_started_it_is_killed(rig: Rig) -> None:
    file = f"{rig.folder}/beats"
    beside = with_load(rig, Concurrent(busy=0, command=f'while :; do echo >>"{file}"; sleep 0.1; done'))
    assert beside.run(["sh", "-c", "sleep 1; kill -9 $PPID; sleep 1"], timeout_s=30).exit_code != 0
    eventually(stands_still(rig.connection, file))
