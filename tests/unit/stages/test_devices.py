"""Which units a push goes to, with devices of all states in memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from unit.stages.bench import Bench, Unit
from unit.stages.planned import Heard, target

from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Note
from edgedeploy.domain.project import Patience
from edgedeploy.errors import DeviceAbsentError, DeviceUnavailableError, EdgedeployError, MissingToolError, UsageError
from edgedeploy.stages import devices
from edgedeploy.stages.devices import select, take_inventory

BENCH = target("bench")
OTHER = target("other")
TARGETS = {"bench": BENCH, "other": OTHER}


def device(name: str, **keys: Any) -> Device:
    return Device(**({"name": name, "transport": "fake", "address": f"at-{name}", "state": "ready", "target": "bench"} | keys))


def in_lab(name: str, **keys: Any) -> Device:
    """As the lab file has it: its state is not known there."""
    return device(name, **({"state": "unknown", "origin": "lab.toml"} | keys))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """One transport, ``fake``, that finds nothing."""
    made = Bench(monkeypatch)
    made.transport("fake")
    return made


def names(found: tuple[Device, ...]) -> list[str]:
    return [unit.name for unit in found]


def test_every_reachable_unit_of_the_target_is_taken(bench: Bench) -> None:
    fake = bench.transport("fake")
    fake.found = [Unit(device("a")), Unit(device("b", state="offline")), Unit(device("c")), Unit(device("d", target="other"))]
    found = select(BENCH, (), (), TARGETS)
    assert names(found) == ["a", "c"]
    assert all(unit.state == "ready" for unit in found)


def test_units_of_the_lab_file_keep_their_names_and_are_asked_for_their_state(bench: Bench) -> None:
    fake = bench.transport("fake")
    fake.found = [Unit(device("serial-1", address="one", target=""))]
    fake.named = [Unit(device("far", address="two")), Unit(device("off", address="three", state="unreachable"))]
    lab = (in_lab("mine", address="one"), in_lab("far", address="two"), in_lab("off", address="three"))
    assert names(select(BENCH, (), lab, TARGETS)) == ["mine", "far"]


def test_named_units_are_taken_in_the_order_given_once_and_by_address_too(bench: Bench) -> None:
    bench.transport("fake").found = [Unit(device("a")), Unit(device("b")), Unit(device("c"))]
    assert names(select(BENCH, ("c", "at-a", "c"), (), TARGETS)) == ["c", "a"]


def test_a_name_nobody_has_is_told_with_the_nearest(bench: Bench) -> None:
    bench.transport("fake").found = [Unit(device("kitchen-pi")), Unit(device("lab-pi"))]
    with pytest.raises(UsageError, match="no device named 'kitchn-pi'") as caught:
        select(BENCH, ("kitchn-pi",), (), TARGETS)
    assert caught.value.next_step == "did you mean 'kitchen-pi'? allowed: kitchen-pi, lab-pi"


def test_a_unit_of_another_target_is_refused_with_the_place_that_says_so(bench: Bench) -> None:
    bench.transport("fake").named = [Unit(device("pi"))]
    with pytest.raises(UsageError, match="pi is a other, not a bench") as caught:
        select(BENCH, ("pi",), (in_lab("pi", target="other"),), TARGETS)
    assert caught.value.where == "lab.toml"


def test_a_unit_of_an_unknown_kind_is_taken_when_it_is_named(bench: Bench) -> None:
    bench.transport("fake").found = [Unit(device("stranger", target=""))]
    (found,) = select(BENCH, ("stranger",), (), TARGETS)
    assert found.target == "bench"
    with pytest.raises(DeviceUnavailableError) as caught:
        select(BENCH, (), (), TARGETS)
    assert caught.value.seen == "other devices: stranger (of an unknown kind)"


def test_no_device_at_all(bench: Bench) -> None:
    with pytest.raises(DeviceUnavailableError, match="no unit of bench is reachable") as caught:
        select(BENCH, (), (), TARGETS)
    assert caught.value.seen == "no device at all"
    assert caught.value.exit_code == 5
    assert "edgedeploy devices" in caught.value.next_step


def test_none_of_several_is_reachable_and_each_ones_state_is_told(bench: Bench) -> None:
    bench.transport("fake").found = [
        Unit(device("a", state="unauthorized", detail="tap Allow")),
        Unit(device("b", state="offline")),
    ]
    with pytest.raises(DeviceUnavailableError, match="no unit of bench is reachable") as caught:
        select(BENCH, (), (), TARGETS)
    assert caught.value.seen == "a: unauthorized, tap Allow; b: offline"


@pytest.mark.parametrize("wanted", [(), ("a",)])
def test_the_only_unit_or_a_named_one_that_is_not_ready_gives_its_own_account(bench: Bench, wanted: tuple[str, ...]) -> None:
    bench.transport("fake").found = [Unit(device("a", state="unauthorized"))]
    with pytest.raises(DeviceUnavailableError, match="a is unauthorized") as caught:
        select(BENCH, wanted, (), TARGETS)
    assert caught.value.next_step == "tap Allow on its screen"


@pytest.fixture
def paused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of our own: pauses take no time. After the third one, a phone is plugged in."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            bench.transport("fake").found = [Unit(device("a"))]

    monkeypatch.setattr(devices.time, "monotonic", lambda: sum(pauses))
    monkeypatch.setattr(devices.time, "sleep", sleep)
    return pauses


@pytest.mark.usefixtures("bench")
def test_a_device_that_still_starts_is_waited_for_as_long_as_was_said(paused: list[float]) -> None:
    heard = Heard()
    assert names(select(BENCH, (), (), TARGETS, for_s=60, sink=heard)) == ["a"]
    assert paused == [0.5, 1.0, 2.0]
    assert [event.text for event in heard if isinstance(event, Note)] == ["no unit of bench is reachable; waiting for it"]


@pytest.mark.usefixtures("bench")
def test_one_that_does_not_come_is_given_up_in_time(paused: list[float]) -> None:
    with pytest.raises(DeviceUnavailableError, match="no unit of bench"):
        select(BENCH, (), (), TARGETS, for_s=3)
    assert sum(paused) < 3


@pytest.mark.parametrize("units", [["a"], ["a", "b"]])
def test_what_will_not_pass_is_not_waited_for(bench: Bench, paused: list[float], units: list[str]) -> None:
    bench.transport("fake").found = [Unit(device(name, state="unauthorized")) for name in units]
    with pytest.raises(DeviceUnavailableError):
        select(BENCH, (), (), TARGETS, for_s=60)
    assert paused == []


def test_who_gives_a_time_means_the_first_contact_too() -> None:
    assert Patience.asked(wait_s=1, retry_for_s=None) == Patience(wait_s=1, first_contact_s=4)
    assert Patience.asked(wait_s=0, retry_for_s=300) == Patience(retry_for_s=300, first_contact_s=300)


def test_a_unit_that_has_come_back_in_the_meantime_is_taken(bench: Bench) -> None:
    unit = Unit(device("a", state="offline"), back=True)
    bench.transport("fake").found = [unit]
    (found,) = select(BENCH, ("a",), (), TARGETS)
    assert found.state == "ready"
    assert [connection.closed for connection in unit.connections] == [1]


def test_this_machine_is_a_unit_of_every_target_that_is_reached_by_local(bench: Bench) -> None:
    here = Device(name="this-machine", transport="local", target="this-machine", state="ready")
    bench.transport("local").found = [Unit(here)]
    own = target("my-own", transports=("local",))
    (found,) = select(own, (), (), TARGETS | {"my-own": own})
    assert (found.name, found.target) == ("this-machine", "my-own")
    assert select(own, ("this-machine",), (), TARGETS | {"my-own": own}) == (found,)


def test_a_transport_that_no_plug_in_brings_is_refused_and_export_is_offered(bench: Bench) -> None:
    with pytest.raises(UsageError, match="no installed transport does that") as caught:
        select(target("phone", transports=("cable",)), (), (), TARGETS)
    assert "edgedeploy export --target phone" in caught.value.next_step


@pytest.mark.parametrize("wanted", [(), ("a",)])
def test_a_client_program_that_is_missing_is_the_error_when_there_is_no_other_way(bench: Bench, wanted: tuple[str, ...]) -> None:
    bench.transport("fake").missing = MissingToolError("adb is not installed")
    with pytest.raises(MissingToolError, match="adb is not installed"):
        select(BENCH, wanted, (), TARGETS)


def test_a_client_program_that_is_missing_is_no_trouble_when_there_is_another_way(bench: Bench) -> None:
    bench.transport("fake").missing = MissingToolError("adb is not installed")
    bench.transport("other-way").found = [Unit(device("a", transport="other-way"))]
    both = target("bench", transports=("fake", "other-way"))
    assert names(select(both, (), (), {"bench": both})) == ["a"]


@pytest.mark.parametrize("trouble", [MissingToolError("adb is not installed"), DeviceAbsentError("the adb server does not work")])
def test_the_inventory_tells_trouble_and_lists_the_others(bench: Bench, trouble: EdgedeployError) -> None:
    bench.transport("fake").missing = trouble
    bench.transport("other-way").found = [Unit(device("a", transport="other-way"))]
    found = take_inventory((), TARGETS, ("fake", "other-way"))
    assert (names(found.devices), found.trouble) == (["a"], {"fake": trouble})


def test_a_server_that_does_not_work_is_told_where_it_is_the_only_way_and_waited_for(bench: Bench, paused: list[float]) -> None:
    bench.transport("fake").missing = DeviceAbsentError("the adb server does not work")
    for wanted, lab in (((), ()), (("phone",), (in_lab("phone"),))):
        with pytest.raises(DeviceAbsentError, match="the adb server"):
            select(BENCH, wanted, lab, TARGETS, for_s=1)
    assert paused == [0.5, 0.5]


def test_a_device_that_cannot_be_asked_for_its_state_hides_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = bench.transport("fake")
    fake.named = [Unit(device("a")), Unit(device("b"))]
    ask = fake.state

    def state(device: Device) -> Device:
        if device.name == "a":
            raise DeviceAbsentError("the adb server does not work")
        return ask(device)

    monkeypatch.setattr(fake, "state", state)
    found = take_inventory((in_lab("a"), in_lab("b")), TARGETS, ("fake",)).devices
    assert [(unit.name, unit.state, unit.detail) for unit in found] == [
        ("a", "unreachable", "the adb server does not work"),
        ("b", "ready", ""),
    ]


def test_a_device_of_the_lab_whose_client_program_is_missing_is_left_out(bench: Bench) -> None:
    bench.transport("fake").missing = MissingToolError("x")
    found = take_inventory((in_lab("phone"),), TARGETS, ("fake",))
    assert (found.devices, len(found.trouble)) == ((), 1)


def test_only_transports_of_the_target_are_asked(bench: Bench) -> None:
    bench.transport("fake").found = [Unit(device("a"))]
    bench.transport("other-way").missing = MissingToolError("must not be asked")
    assert names(select(BENCH, (), (in_lab("elsewhere", transport="other-way"),), TARGETS)) == ["a"]


def phone_targets() -> dict[str, Any]:
    return {
        name: target(name, match={"ro.product.device": (name, f"{name}-pro"), "ro.product.brand": ("acme",)})
        for name in ("first", "second")
    }


def test_a_phone_is_recognised_when_every_property_matches(bench: Bench) -> None:
    def phone(name: str, product: str, brand: str) -> Unit:
        return Unit(device(name, target=""), properties={"ro.product.device": product, "ro.product.brand": brand})

    units = [phone("a", "second", "acme"), phone("b", "first-pro", "acme"), phone("c", "first", "other"), phone("d", "", "")]
    bench.transport("fake").found = units
    found = take_inventory((), phone_targets(), ("fake",)).devices
    assert [unit.target for unit in found] == ["second", "first", "", ""]
    assert all(connection.closed == 1 for unit in units for connection in unit.connections)


def test_a_phone_that_is_not_ready_is_not_asked_what_it_is(bench: Bench) -> None:
    unit = Unit(device("a", target="", state="unauthorized"))
    bench.transport("fake").found = [unit]
    take_inventory((), phone_targets(), ("fake",))
    assert unit.connections == []


def test_a_phone_that_goes_away_while_it_is_asked_is_unreachable_and_holds_up_no_other(bench: Bench) -> None:
    gone = Unit(device("a", target=""), lost_at="run")
    good = Unit(device("b", target=""), properties={"ro.product.device": "first", "ro.product.brand": "acme"})
    bench.transport("fake").found = [gone, good]
    found = take_inventory((), phone_targets(), ("fake",)).devices
    assert [(unit.state, unit.target) for unit in found] == [("unreachable", ""), ("ready", "first")]
    assert found[0].detail == "a went away"
    assert gone.connections[0].closed == 1


def test_a_phone_that_nothing_runs_on_is_refused_before_anybody_is_asked(bench: Bench) -> None:
    bench.transport("fake").found = [Unit(device("a"))]
    with pytest.raises(UsageError, match="nothing that edgedeploy has runs on") as caught:
        select(msgspec.structs.replace(BENCH, os="ios", runtimes=()), (), (), TARGETS)
    assert "edgedeploy export --target bench" in caught.value.next_step
