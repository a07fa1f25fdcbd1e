"""Programs that are watched while they run, on devices of every kind."""

from __future__ import annotations

import threading
import time

import pytest
from integration.transports.rig import Rig, phone_device
from standins.phone import WORKDIR, Phone

from edgedeploy.errors import DeviceLostError
from edgedeploy.probes.meters import metered, parse_metered
from edgedeploy.probes.sampler import parse_watched, watched
from edgedeploy.stages.beside import Beside
from edgedeploy.stages.watching import Watching
from edgedeploy.transports.adb import AdbTransport

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
    beside = Beside(connection, file, lambda argv: metered(argv, file))
    assert beside.run(["sh", "-c", "sleep 1.2; exit 4"], timeout_s=30).exit_code == 4
    (series,), reason = parse_metered(beside.written())
    connection.close()
    assert (series.source, reason) == ("battery battery", "")
    assert len(series.points) >= 2
    assert series.points[0][1] == pytest.approx(0.3125 * 4.21)
