"""What makes a latency that is too great the device's doing."""

from __future__ import annotations

import msgspec
import pytest

from edgedeploy.domain.conditions import During, Sample, Start
from edgedeploy.domain.measurement import Core, DeviceFacts, Environment
from edgedeploy.stages.excuse import excuse_of

GHZ = 1_000_000_000


def environment(before: DeviceFacts, after: DeviceFacts, during: During | None = None) -> Environment:
    return Environment(
        runner="r", engine="e", engine_version="1", threads=1, cpus=(), clock="c", clock_resolution_ns=1, host="h",
        before=before, after=after, during=during,
    )  # fmt: skip


def pi(throttled: str) -> DeviceFacts:
    return DeviceFacts(os="linux", properties={"vcgencmd.get_throttled": throttled})


def held_to(*limits_hz: int | None) -> During:
    return During(cpus=(4,), samples=tuple(Sample(at_s=i, limits_hz=(hz,)) for i, hz in enumerate(limits_hz)))


FREE = DeviceFacts(os="android", cores=(Core(index=4, max_hz=3 * GHZ, limit_hz=2 * GHZ),))


def test_a_device_that_was_not_ready() -> None:
    unready = msgspec.structs.replace(
        environment(FREE, FREE), start=Start(waited_s=60, unmet=("soc has 52 °C, more than 40 °C",))
    )
    assert excuse_of(unready) == "the device was not ready when it began: soc has 52 °C, more than 40 °C"
    assert excuse_of(msgspec.structs.replace(unready, start=Start(waited_s=2, unknown=("load",)))) == ""


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (environment(FREE, FREE), ""),
        (environment(FREE, FREE, held_to(2 * GHZ, None, 2 * GHZ)), ""),  # limited before: that is how it is set up
        (environment(FREE, FREE, held_to(2 * GHZ, GHZ)), "processor 4 was held to 1.00 GHz meanwhile, 2.00 GHz before"),
        (environment(DeviceFacts(os="linux"), DeviceFacts(os="linux"), held_to(GHZ)), ""),  # nobody knows what it was before
        (environment(FREE, DeviceFacts(os="android", throttled=True)), "the device was throttled"),
        (environment(pi("0x0"), pi("0x40000")), "the device was throttled meanwhile"),
        (environment(pi("0x40000"), pi("0x40000")), ""),
        (environment(DeviceFacts(os="linux", throttle_count=3), DeviceFacts(os="linux", throttle_count=3)), ""),
        (environment(DeviceFacts(os="linux", throttle_count=3), DeviceFacts(os="linux", throttle_count=5)), "too hot meanwhile"),
        (environment(DeviceFacts(os="linux", throttle_count=3), DeviceFacts(os="linux")), ""),
    ],
)
def test_throttling(found: Environment, words: str) -> None:
    assert words in excuse_of(found)
    assert bool(words) == bool(excuse_of(found))
