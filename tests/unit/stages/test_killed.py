"""What is said of a runner that was killed, by what the device knows."""

from __future__ import annotations

import pytest

from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.errors import RunnerKilledError
from edgedeploy.stages.killed import explained

MB = 1_000_000
ERROR = RunnerKilledError("the runner died of SIGKILL", where="pi: run", seen="nothing", next_step="the kernel most likely did")


def facts(oom_kills: int | None, available_bytes: int | None = 500 * MB, os: str = "linux") -> DeviceFacts:
    return DeviceFacts(os=os, oom_kills=oom_kills, memory_available_bytes=available_bytes)


def test_the_kernel_counted_one_more() -> None:
    found = explained(ERROR, facts(3), facts(4), 20 * MB)
    assert found.what == "memory ran out, and the kernel ended the runner"
    assert "500 MB were free before, the model has 20 MB" in found.seen
    assert "the kernel counts 1 process ended for want of memory since then" in found.seen
    assert "smaller model" in found.next_step
    assert found.where == "pi: run"


@pytest.mark.parametrize("oom_kills", [None, 3])
def test_the_model_is_larger_than_what_was_free(oom_kills: int | None) -> None:
    found = explained(ERROR, facts(oom_kills, 10 * MB), facts(oom_kills, 10 * MB), 20 * MB)
    assert "larger than the memory that was free" in found.what


def test_the_kernel_counted_nothing() -> None:
    found = explained(ERROR, facts(3), facts(3), 20 * MB)
    assert found.what == ERROR.what
    assert "something else on the device did" in found.next_step


@pytest.mark.parametrize(("before", "os"), [(None, "linux"), (3, "android")])
def test_nothing_is_known_for_sure(before: int | None, os: str) -> None:
    found = explained(ERROR, facts(before, None, os), facts(3, None, os), 20 * MB)
    assert (found.what, found.next_step) == (ERROR.what, ERROR.next_step)
