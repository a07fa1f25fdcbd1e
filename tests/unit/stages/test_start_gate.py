"""A device that is made up, and a clock that goes on by two seconds with every look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import cast

from unit.stages.planned import Heard

from edgedeploy.domain.conditions import Start
from edgedeploy.domain.events import Note, Progress
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import Completed, Connection, Probe
from edgedeploy.stages.start_gate import Gate

LOOK_S = 2.0


class Device:
    """Says its facts and loads one after the other; the last for ever."""

    name, os = "made-up", frozenset({"linux"})

    def __init__(self, facts: Sequence[DeviceFacts], loads: Sequence[float | None]) -> None:
        self._facts: Iterator[DeviceFacts] = chain(facts, repeat(facts[-1]))
        self._loads = chain(loads, repeat(loads[-1]))
        self.looks = 0

    def command(self, workdir: str) -> Sequence[str]:
        return ("sh", "-c", "facts")

    def parse(self, output: str) -> DeviceFacts:
        return next(self._facts)

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        if argv[-1] == "facts":
            self.looks += 1
            return Completed(exit_code=0, stdout=b"", stderr=b"")
        load = next(self._loads)
        said = "" if load is None else f"10.00 cpu  0 0 0 0 0 0 0 0\n11.00 cpu  {round(100 * load)} 0 0 0 0 0 0 0\n"
        return Completed(exit_code=0, stdout=said.encode(), stderr=b"")

    def wait(self, heard: Heard, **policy: object) -> Start | None:
        ticks = (LOOK_S * i for i in range(1000))
        return Gate(
            cast("Connection", self),
            cast("Probe", self),
            MeasurePolicy(**policy),  # type: ignore[arg-type]
            heard,
            "net on it",
            clock=lambda: next(ticks),
        ).wait()


def at(*temperatures_c: float, throttled: bool | None = False) -> list[DeviceFacts]:
    return [
        DeviceFacts(os="linux", temperatures_c={"soc": celsius, "skin": 20.0}, throttled=throttled) for celsius in temperatures_c
    ]


def notes(heard: Heard) -> list[str]:
    return [event.text for event in heard if isinstance(event, Note)]


def test_nothing_is_waited_for_unless_it_is_asked_for() -> None:
    device, heard = Device(at(99.0), [8.0]), Heard()
    assert device.wait(heard) is None
    assert (device.looks, heard) == (0, [])


def test_a_calm_device_begins_at_once() -> None:
    heard = Heard()
    found = Device(at(41.0), [0.2]).wait(heard, start_wait_s=60)
    assert found == Start(waited_s=2.0, hottest_c=41.0, load=0.2)
    assert heard == []


def test_a_busy_device_is_waited_for_and_that_is_shown() -> None:
    heard = Heard()
    found = Device(at(41.0), [3.0, 1.0, 0.5]).wait(heard, start_wait_s=60)
    assert found == Start(waited_s=6.0, hottest_c=41.0, load=0.5)
    shown = [event for event in heard if isinstance(event, Progress)]
    assert [event.text for event in shown] == [
        "waiting: 3.00 processors are at work, more than 0.5",
        "waiting: 1.00 processors are at work, more than 0.5",
    ]
    assert [(event.done, event.total) for event in shown] == [(2, 61), (4, 61)]


def test_a_hot_device_is_waited_for() -> None:
    found = Device(at(60.0, 55.0, 40.0), [0.0]).wait(Heard(), start_wait_s=60, start_temperature_c=40)
    assert found == Start(waited_s=6.0, hottest_c=40.0, load=0.0)


def test_a_throttled_device_is_waited_for() -> None:
    found = Device([*at(60.0, throttled=True), *at(60.0)], [0.0]).wait(Heard(), start_wait_s=60)
    assert found is not None
    assert (found.waited_s, found.unmet) == (4.0, ())


def test_as_cool_as_idle_is_when_it_cools_no_further() -> None:
    falling = at(70, 66, 63, 61, 59.5, 58, 57, 56.5, 56.2, 56, 55.9, 55.8)
    found = Device(falling, [0.0]).wait(Heard(), start_wait_s=60, start_temperature_c="idle")
    assert found is not None
    assert (found.waited_s, found.hottest_c, found.unmet) == (26.0, 55.8, ())
    warming = Device(at(40, 40, 41, 41, 42, 43), [0.0]).wait(Heard(), start_wait_s=60, start_temperature_c="idle")
    assert warming is not None
    assert warming.waited_s == 12.0  # ten seconds of looking are the least


def test_when_the_time_is_over_it_begins_all_the_same_and_says_so() -> None:
    heard = Heard()
    found = Device(at(52.1), [0.9]).wait(heard, start_wait_s=10, start_temperature_c=40)
    assert found is not None
    assert found.unmet == ("0.90 processors are at work, more than 0.5", "soc has 52.1 °C, more than 40 °C")
    assert found.waited_s == 10.0
    text = "0.90 processors are at work, more than 0.5, soc has 52.1 °C, more than 40 °C; measured all the same"
    assert notes(heard) == [f"net on it: after 10 s, {text}"]


def test_what_a_device_does_not_tell_is_said_and_not_waited_for() -> None:
    heard = Heard()
    device = Device([DeviceFacts(os="macos")], [None])
    found = device.wait(heard, start_wait_s=60, start_temperature_c="idle")
    assert found == Start(waited_s=2.0, unknown=("temperature", "throttling", "load"))
    assert device.looks == 1
    assert heard == []
