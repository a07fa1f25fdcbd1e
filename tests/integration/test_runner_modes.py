"""How timed iterations can follow on one another, in real runners: after rests, by windows of time, and several processes at once."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.runner_starts import LIMIT_S, QUICK, Ran, format_of, input_arguments

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(sys.platform != "linux", reason="native runners are built on Linux"),
]


@pytest.mark.parametrize("runner", QUICK)
def test_bursts_come_after_rests(run_model: Callable[..., Ran], runner: str) -> None:
    options = ("--bursts", "3", "--idle-seconds", "0.1", "--iterations", "4", "--warmup", "1")
    document = run_model(runner, "convolution", *options).document
    assert [burst.iterations for burst in document.bursts] == [4, 4, 4]
    assert len(document.latency_ns) == 12
    for number, (one, next_one) in enumerate(itertools.pairwise(document.bursts)):
        ended_ns = one.began_ns + sum(document.latency_ns[4 * number :][:4])
        assert next_one.began_ns - ended_ns >= 100_000_000
    assert document.cpu_ns is not None
    assert document.cpu_ns < 300_000_000  # resting is no work


@pytest.mark.parametrize("runner", QUICK)
def test_windows_count_everything_and_keep_a_hundred(run_model: Callable[..., Ran], runner: str) -> None:
    options = ("--window-seconds", "0.1", "--max-seconds", "0.5", "--warmup", "1", "--iterations", "1")
    document = run_model(runner, "convolution", *options).document
    assert 2 <= len(document.windows) <= 6  # the last one may have just one
    assert all(1 <= window.kept <= min(100, window.iterations) for window in document.windows)
    assert sum(window.kept for window in document.windows) == len(document.latency_ns)
    assert document.timed_ns is not None
    assert 500_000_000 <= document.timed_ns < 5_000_000_000
    assert document.suspended_ns is not None
    uptime_ns = float(Path("/proc/uptime").read_text().split()[0]) * 1e9
    began_ns = document.windows[0].began_ns + document.suspended_ns
    assert 0 < uptime_ns - began_ns < 60e9  # the same clock as that of whoever watches the device


@pytest.mark.parametrize("runner", ["native-tflite", "agent-tflite"])
def test_a_process_waits_for_the_others(starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str) -> None:
    suffix = format_of(runner)
    model = ["--model", str(models / f"convolution.{suffix}"), *input_arguments(models, "convolution", suffix, tmp_path)]
    argv = [*starts[runner], *model, "--output-dir", str(tmp_path), "--barrier", "1", "--iterations", "3"]

    def begun() -> tuple[subprocess.Popen[bytes], int, int]:
        ready, ready_in = os.pipe()
        out, go = os.pipe()
        os.set_inheritable(ready_in, True)
        line = f'exec "$@" 3>&{ready_in} {ready_in}>&-'
        process = subprocess.Popen(
            ["bash", "-c", line, "sh", *argv], stdin=out, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(ready_in,)
        )
        os.close(ready_in)
        os.close(out)
        return process, ready, go

    process, ready, go = begun()
    assert os.read(ready, 1)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    os.write(go, b".")
    stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert len(Ran(stdout, stderr, process.returncode, tmp_path).document.latency_ns) == 3

    alone, ready, go = begun()
    assert os.read(ready, 1)
    os.close(go)
    stdout, stderr = alone.communicate(timeout=LIMIT_S)
    failure = Ran(stdout, stderr, alone.returncode, tmp_path).failure
    assert (failure["stage"], "before all were ready" in failure["message"]) == ("turn", True)


@pytest.mark.parametrize("runner", QUICK)
@pytest.mark.parametrize(
    "wrong",
    ["--bursts 2", "--bursts 2 --idle-seconds nan", "--window-seconds 0", "--window-seconds 1 --bursts 2 --idle-seconds 1"],
)
def test_ways_that_cannot_be_are_refused(run_model: Callable[..., Ran], runner: str, wrong: str) -> None:
    ran = run_model(runner, "convolution", *wrong.split())
    assert (ran.exit_code, ran.failure["stage"]) == (64, "usage")
