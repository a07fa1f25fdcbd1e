"""What a runner is started with."""

from __future__ import annotations

import msgspec

from edgedeploy.domain.artifact import TensorSpec
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import Bursts, Launch
from edgedeploy.runtimes.launch import PROFILED_INVOCATIONS, command

BUNDLE = RunnerBundle(name="agent", files=(), start=("{python}", "{dir}/agent.py"))


POLICY = MeasurePolicy(cpus=(4, 5))


def words(*, profile: bool = False, cold: bool = False, policy: MeasurePolicy = POLICY) -> tuple[str, ...]:
    launch = Launch(
        model="/a/m.pte",
        method="decode",
        inputs=(TensorSpec(name="x", dtype="int64", shape=(1, 5)),),
        input_files=("/a/golden:0.bin",),
        output_dir="/s",
        policy=policy,
        profile=profile,
        cold=cold,
    )
    return command(BUNDLE, launch, runner_dir="/r", python="python3")


def after(option: str, argv: tuple[str, ...]) -> str:
    return argv[argv.index(option) + 1]


def test_every_option_has_its_value() -> None:
    argv = words(profile=False)
    assert argv[:2] == ("python3", "/r/agent.py")
    assert after("--method", argv) == "decode"
    assert after("--input", argv) == "int64:1,5:/a/golden:0.bin"
    assert after("--cpus", argv) == "4,5"
    assert "--profile" not in argv
    assert (after("--warmup-seconds", argv), after("--min-seconds", argv), after("--vary", argv)) == ("5", "0", "0")


def test_the_policy_decides_how_long_and_on_what() -> None:
    argv = words(policy=MeasurePolicy(warmup_seconds=0, min_seconds=0.5, inputs="varied"))
    assert (after("--warmup-seconds", argv), after("--min-seconds", argv), after("--vary", argv)) == ("0", "0.5", "1")


def test_a_cold_load_is_asked_for() -> None:
    assert "--cold" not in words()
    assert after("--cold", words(cold=True)) == "1"


def test_a_mode_of_the_policy_changes_nothing_by_itself() -> None:
    assert words(policy=MeasurePolicy(mode="burst", cpus=(4, 5))) == words()


def test_bursts_windows_and_a_barrier_are_asked_for() -> None:
    launch = Launch(model="m", method="f", inputs=(), input_files=(), output_dir="/s", policy=POLICY)

    def start(**changes: object) -> tuple[str, ...]:
        return command(BUNDLE, msgspec.structs.replace(launch, **changes), runner_dir="/r", python="python3")

    assert start(bursts=Bursts(count=3, idle_s=0.5))[-4:] == ("--bursts", "3", "--idle-seconds", "0.5")
    assert start(window_s=0.25, barrier=True)[-4:] == ("--window-seconds", "0.25", "--barrier", "1")
    assert not {"--bursts", "--window-seconds", "--barrier"} & set(start())


def test_a_profile_is_asked_for() -> None:
    assert after("--profile", words(profile=True)) == str(PROFILED_INVOCATIONS)
