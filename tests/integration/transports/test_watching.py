"""Programs that are watched while they run, on devices of every kind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from integration.transports.rig import Rig, board_device, phone_device
from standins.board import SshBoard
from standins.phone import WORKDIR, Phone
from standins.phone_root import phone_root

from edgedeploy.domain.conditions import FixedClock
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import DeviceLostError
from edgedeploy.probes.meters import metered, parse_metered
from edgedeploy.probes.sampler import parse_watched, watched
from edgedeploy.stages.beside import Beside
from edgedeploy.stages.clock import Clock
from edgedeploy.stages.watching import Watching
from edgedeploy.transports.adb import AdbTransport
from edgedeploy.transports.ssh import SshTransport

# For a second and a bit; the loop that watches has less to do than this one.
BUSY = 'end=$(($(date +%s) + 2)); while [ "$(date +%s)" -lt $end ]; do :; done; echo done; echo hm >&2; exit 3'


def test_a_program_is_watched_on_every_kind_of_device(rig: Rig) -> None:
    watching = Watching(rig.connection, rig.folder, ())
    began = time.monotonic()
    ended = watching.run(["sh", "-c", BUSY], timeout_s=30)
    took_s = time.monotonic() - began
    assert (ended.exit_code, ended.stdout, ended.stderr) == (3, b"done\n", b"hm\n")
    seen = watching.seen()
    assert len(seen.samples) >= 2
    assert took_s < 4  # the loop, which sleeps for longer, holds up nobody
    assert seen.others is not None
    if rig.kind == "adb":  # its /sys is that of a phone
        assert (seen.hottest_c, seen.zone, seen.cpus) == (41.2, "BIG", tuple(range(8)))
        assert seen.clock_range_hz(7) == (500_000_000, 500_000_000)
        assert seen.least_limit_hz(7) == 2_910_000_000
        assert seen.unavailable == ()


def test_nothing_was_started_so_nothing_was_seen(rig: Rig) -> None:
    assert Watching(rig.connection, rig.folder, ()).seen().unavailable == ("everything",)


def test_only_the_processors_in_use(phone: Phone) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    watching = Watching(connection, WORKDIR, (4, 7))
    watching.run(["sh", "-c", "sleep 1"], timeout_s=30)
    seen = watching.seen()
    connection.run(["rm", f"{WORKDIR}/conditions.txt"], timeout_s=20)
    connection.close()
    assert (seen.cpus, seen.samples[0].clocks_hz) == ((4, 7), (400_000_000, 500_000_000))


def test_a_cable_that_is_pulled_leaves_no_loop_behind(phone: Phone) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    pull = threading.Timer(0.7, phone.pull_cable)
    pull.start()
    with pytest.raises(DeviceLostError):
        connection.run(watched(["sleep", "2"], f"{WORKDIR}/watched.txt", ()), timeout_s=30)
    pull.join()
    file = phone.workdir / "watched.txt"
    until = time.monotonic() + 20
    size_bytes = -1
    while size_bytes != (size_bytes := file.stat().st_size):
        assert time.monotonic() < until
        time.sleep(1.2)
    assert len(parse_watched(file.read_text()).samples) <= 5


def test_the_fuel_gauge_of_a_phone_that_nothing_charges(phone: Phone) -> None:
    (phone.sys / "class/power_supply/battery/status").write_text("Discharging\n")
    connection = AdbTransport().connect(phone_device(phone))
    file = f"{WORKDIR}/metered.txt"
    beside = Beside(connection, file, lambda argv, _limit_s: metered(argv, file))
    assert beside.run(["sh", "-c", "sleep 1.2; exit 4"], timeout_s=30).exit_code == 4
    (series,), reason = parse_metered(beside.written())
    connection.close()
    assert (series.source, reason) == ("battery battery", "")
    assert len(series.points) >= 2
    assert series.points[0][1] == pytest.approx(0.3125 * 4.21)


def test_a_phone_without_root_gets_its_fixed_performance_mode(phone: Phone) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    connection.run(["mkdir", "-p", f"{WORKDIR}/w/runs/1"], timeout_s=20)
    clock = Clock(connection, f"{WORKDIR}/w/runs/1", MeasurePolicy(fixed_clock=True))
    ended = clock.run(["sh", "-c", "cat /data/property/fixed_performance_mode; exit 3"], timeout_s=30)
    after = connection.run(["sh", "-c", f"cat /data/property/fixed_performance_mode; ls {WORKDIR}/w"], timeout_s=20)
    said = clock.said(lambda _event: None, "phone")
    connection.close()
    assert (ended.exit_code, ended.stdout) == (3, b"true\n")
    assert after.stdout == b"false\nruns\n"
    assert said == FixedClock(how="Android's fixed performance mode")


def test_a_cable_that_is_pulled_gives_the_phone_its_own_mode_back(phone: Phone) -> None:
    connection = AdbTransport().connect(phone_device(phone))
    connection.run(["mkdir", "-p", f"{WORKDIR}/w/runs/1"], timeout_s=20)
    clock = Clock(connection, f"{WORKDIR}/w/runs/1", MeasurePolicy(fixed_clock=True))
    pull = threading.Timer(0.7, phone.pull_cable)
    pull.start()
    with pytest.raises(DeviceLostError):
        clock.run(["sleep", "2"], timeout_s=30)
    pull.join()
    until = time.monotonic() + 20
    while (phone.workdir / "w/clock").exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    mode = phone.cable.seen_from_outside(phone_root(phone.arch) / "data/property/fixed_performance_mode")
    assert mode.read_text() == "false\n"


def test_a_board_without_rights_keeps_its_clock_and_says_so(pi_board: SshBoard) -> None:
    folder = Path.home() / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "known_hosts").write_text(pi_board.known_hosts, encoding="ascii")
    connection = SshTransport().connect(board_device(pi_board))
    connection.run(["mkdir", "-p", f"{pi_board.home}/w/runs/1"], timeout_s=60)
    clock = Clock(connection, f"{pi_board.home}/w/runs/1", MeasurePolicy(fixed_clock=True))
    assert clock.run(["echo", "fine"], timeout_s=60).stdout == b"fine\n"
    said = clock.said(lambda _event: None, "pi")
    connection.close()
    assert said is not None
    assert "may not be written: it needs root, or sudo without a password" in said.refused
