"""The pass for energy on a device that is made up: what its instruments write is known, and so is what an inference costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from unit.stages.planned import Heard

from edgedeploy.domain.energy import Energy
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import DeviceRunError, RunnerError
from edgedeploy.ports import Completed, Connection
from edgedeploy.stages.energy import EnergyPass
from edgedeploy.stages.host_meter import HostMeter

HEAD = "name /sys/class/hwmon/hwmon0/name ina226\nfile /sys/class/hwmon/hwmon0/power1_input\n"
ITERATION_NS = 10_000_000


def says(watts: Sequence[float]) -> str:
    return HEAD + "".join(f"at {100 + i / 2:.2f}|{round(value * 1e6)}\n" for i, value in enumerate(watts))


class Device:
    """Its file of readings is ``texts`` one after the other: at rest, at work, at rest, …"""

    def __init__(self, texts: Sequence[str], *, broken: bool = False) -> None:
        self._texts = iter(texts)
        self._broken = broken
        self.asked: list[MeasurePolicy] = []

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"") -> Completed:
        return Completed(exit_code=0, stdout=b"", stderr=b"")

    def fetch(self, remote: str, local: Path) -> None:
        text = next(self._texts)
        if not text:
            raise DeviceRunError("no such file")
        local.write_text(text)

    def work(self, connection: Connection, policy: MeasurePolicy) -> tuple[int, ...]:
        self.asked.append(policy)
        if self._broken:
            raise RunnerError("it failed", seen="no kernel")
        connection.run(["runner"], timeout_s=1)
        return (ITERATION_NS,) * 400

    def measure(self, **policy: object) -> Energy | None:
        policy = {"energy_s": 4.0} | policy
        made = MeasurePolicy(**policy)  # type: ignore[arg-type]
        return EnergyPass(cast("Connection", self), "/s", made, self.work, Heard(), "net").measure(ITERATION_NS)


def test_what_is_above_rest_times_an_iteration() -> None:
    # Four seconds of iterations, of which the last three count: what was before (loading, at 9 W) does not.
    work = [9.0] * 6 + [3.0, 3.5] * 4
    device = Device([says([1.0, 1.5] * 8), says(work)] * 3)
    found = device.measure()
    assert found is not None
    assert (found.source, found.absent) == ("hwmon ina226", "")
    assert found.rest_mw is not None
    assert found.active_mw is not None
    assert found.per_iteration_mj is not None
    assert found.rest_mw.mean == pytest.approx(1250)
    assert found.active_mw.mean == pytest.approx(3250)
    assert found.per_iteration_mj.mean == pytest.approx(20)  # 2 W for 10 ms
    # All repetitions were alike; an instrument with steps of half a watt is no surer for that.
    assert found.per_iteration_mj.standard_error == pytest.approx(500 * 2**0.5 * 0.010 / 12**0.5)
    assert [policy.max_seconds for policy in device.asked] == [4.0] * 3
    assert device.asked[0].iterations == 600


def test_it_is_not_measured_unless_it_is_asked_for() -> None:
    assert Device([]).measure(energy_s=0.0) is None


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([""], "no instrument of the device tells its power"),
        ([says([]), says([])], "no instrument of the device tells its power"),
        ([says([1.0, 1.1]), says([2.0, 2.1])], "hwmon ina226: too few readings"),
        ([says([2.0] * 9), says([2.0] * 9)], "hwmon ina226: its reading never changed"),
        ([says([2.0] * 9), says([3.0] * 9).replace("ina226", "ina219")], "no instrument told its power at rest and at work"),
        ([says([2.0] * 9), ""], "no instrument"),
    ],
)
def test_absent_it_is_absent(texts: Sequence[str], why: str) -> None:
    found = Device(texts).measure()
    assert found is not None
    assert (found.per_iteration_mj, found.rest_mw, found.active_mw) == (None, None, None)
    assert why in found.absent


def test_a_phone_on_its_charger_says_why() -> None:
    battery = "/sys/class/power_supply/battery"
    text = f"name {battery}/type Battery\nfile {battery}/status\nfile {battery}/current_now\nat 1.00|Charging|1000000\n"
    found = Device([text]).measure()
    assert found is not None
    assert "only while nothing charges it (its status: Charging)" in found.absent


def test_a_runner_that_fails_costs_no_more_than_its_energy() -> None:
    found = Device([says([1.0] * 9)], broken=True).measure()
    assert found == Energy(absent="the runner failed in the pass for energy: no kernel")


def test_a_meter_of_this_machine() -> None:
    with HostMeter(f"{sys.executable} -c 'print(\"3.5 W\")'") as meter:
        while not meter.series()[0]:
            pass
    (series,), reason = meter.series()
    assert (series.points[0][1], series.counts, reason) == (3.5, False, "")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/no/such/meter", "No such file"),
        ("echo volts", "'volts' tells no watts or joules"),
        ("'", "No closing quotation"),
        ("false", "exit code 1"),
    ],
)
def test_a_meter_that_does_not_work(command: str, why: str) -> None:
    with HostMeter(command) as meter:
        while "in time" in meter.series()[1]:
            pass
    assert meter.series()[0] == ()
    assert why in meter.series()[1]
