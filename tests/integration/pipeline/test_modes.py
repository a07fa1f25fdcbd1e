"""Modes of measuring on this machine, a phone and a board: real runners, seconds instead of minutes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.pipeline.command import EDGEDEPLOY, Run
from integration.pipeline.test_real_transports import PIXEL, board_keys, write_lab
from standins.board import SshBoard
from standins.phone import Phone

pytestmark = pytest.mark.sdk

QUICK = """\
processes = 2
warmup_iterations = 2
warmup_seconds = 0
iterations = 20
threads = 1
cpus = []
cooldown_s = 0
start_wait_s = 0
burst = { invocations = 3, idle_s = 0.05, bursts = 3 }
sustained = { minutes = 0.05 }
cold = { starts = 3, drop_caches = false }
throughput = { instances = 2, seconds = 0.5 }
concurrent = { busy = 1, memory = 1, pairs = 2 }
"""
TARGETS = ("this-machine", "pixel8", "linux-x86_64")


def write_quick(project: Path, *, exporter: str = "executorch", **changes: str) -> None:
    """A project whose settings take seconds; ``changes`` are other values of its keys."""
    settings = QUICK
    for key, value in changes.items():
        settings = "".join(line for line in settings.splitlines(keepends=True) if not line.startswith(f"{key} ="))
        settings += f"{key} = {value}\n"
    (project / "edgedeploy.toml").write_text(
        'name = "small"\n[models.net]\nsource = "model.py:net"\n'
        f'[[deploy]]\nmodel = "net"\ntargets = {list(TARGETS)}\nexporters = ["{exporter}"]\n[deploy.measure]\n{settings}'
    )


def measured(run: Run, project: Path, mode: str, target: str = "this-machine") -> dict:
    done = run("push", "--target", target, "--mode", mode, "--json", cwd=project)
    assert done.exit_code == 0, done.stdout + done.stderr
    (found,) = done.document["runs"]
    assert (found["mode"], found["verdict"]["status"], found["error"]) == (mode, "pass", None)
    assert found["verify"]["device"]["sqnr_db"] > 100
    assert found["device_sha256"] == found["artifact"]["sha256"]
    return found


def check_figures(found: dict) -> None:
    """What every mode has to give, wherever it ran."""
    figures, processes = found["mode_figures"], found["processes"]
    assert figures["type"] == found["mode"]
    match found["mode"]:
        case "burst":
            assert [len(process["latency_ns"]) for process in processes] == [9, 9]
            assert (figures["bursts"], len(figures["place_p50_ns"])) == (6, 3)
            assert figures["burst_p50_ns"] >= max(figures["place_p50_ns"])
        case "sustained":
            assert 3 <= figures["seconds"] < 30
            kept = sum(window["kept"] for window in figures["windows"])
            assert kept == len(processes[0]["latency_ns"]) == len(found["latency_ns"]["samples"])
            assert len(figures["windows"]) <= 61
            assert figures["first_p50_ns"] > 0
        case "cold":
            assert len(processes) == figures["starts"] == 3
            assert (figures["dropped"], figures["not_dropped"]) == (False, "not asked for")
            assert figures["until_first_ns"]["least"] >= figures["load_ns"]["least"] + figures["first_inference_ns"]["least"]
            assert found["latency_ns"]["samples"] == [process["first_inference_ns"] for process in processes]
        case "throughput":
            assert (len(processes), figures["per_second"]["repetitions"]) == (4, 2)
            assert len(figures["instance_p50_ns"]) == 4
            # As each instance is at work all the time, the rate follows from the latencies.
            expected = 2e9 / (sum(figures["instance_p50_ns"]) / 4)
            assert 0.2 * expected < figures["per_second"]["mean"] < 2 * expected
        case "concurrent":
            assert (figures["load"], figures["pairs"]) == ("1 busy program, 1 program writing memory", 2)
            assert [len(group) for group in figures["quiet_ns"]] == [20, 20]
            assert figures["p50"]["ci_low"] <= figures["p50"]["ratio"] <= figures["p50"]["ci_high"]


@pytest.mark.parametrize("mode", ["burst", "sustained", "cold", "throughput", "concurrent"])
def test_on_this_machine(run: Run, scratch_project: Path, mode: str) -> None:
    write_quick(scratch_project, exporter="tflite")
    found = measured(run, scratch_project, mode)
    check_figures(found)
    if mode == "sustained":
        windows = found["mode_figures"]["windows"]
        assert any(window["others"] is not None for window in windows)  # looked at at the same moments
    listed = run("history", "--mode", mode, "--json", cwd=scratch_project).document["runs"]
    assert [one["id"] for one in listed] == [found["id"]]
    assert listed[0]["mode_figures"] == found["mode_figures"]
    assert run("history", "--mode", "single", "--json", cwd=scratch_project).document["runs"] == []


@pytest.mark.standin
def test_on_a_phone(run: Run, scratch_project: Path, phone_factory: Callable[..., Phone]) -> None:
    """Its sh is mksh, its tools are toybox's, and its processor is emulated."""
    phone_factory(arch="arm64", identity=PIXEL)
    write_quick(scratch_project)
    # Loads beside programs are tested on every transport in test_guard.py.
    for mode in ("throughput", "sustained"):
        found = measured(run, scratch_project, mode, "pixel8")
        check_figures(found)
    assert {window["hottest_c"] for window in found["mode_figures"]["windows"]} <= {41.2, None}
    assert found["mode_figures"]["windows"][0]["hottest_c"] == 41.2


@pytest.mark.standin
def test_on_a_board(run: Run, scratch_project: Path, ssh_board: SshBoard) -> None:
    write_lab(scratch_project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    write_quick(scratch_project)
    check_figures(measured(run, scratch_project, "throughput", "linux-x86_64"))


@pytest.mark.standin
@pytest.mark.parametrize(
    ("mode", "number"), [("sustained", signal.SIGKILL), ("throughput", signal.SIGINT), ("concurrent", signal.SIGKILL)]
)
def test_a_host_that_is_stopped_leaves_nothing_on_a_board(
    run: Run, scratch_project: Path, ssh_board: SshBoard, mode: str, number: signal.Signals
) -> None:
    write_lab(scratch_project, "desk", "linux-x86_64", **board_keys(ssh_board, Path.home()))
    write_quick(
        scratch_project,
        sustained="{ minutes = 5 }",
        throughput="{ instances = 2, seconds = 300 }",
        concurrent="{ busy = 1, pairs = 2 }",
        min_seconds="100",
        max_seconds="100",
    )
    assert run("export", "--target", "linux-x86_64", cwd=scratch_project).exit_code == 0
    # The last of them is a word of the load, which has a session of its own.
    ours = "ps ax | grep -v grep | grep -c -e window-seconds -e min-seconds -e 'while :; do :; done &'"

    def count() -> int:
        done = subprocess.run(ssh_board.ssh_argv("sh", "-c", ours), capture_output=True, text=True, timeout=30, check=False)
        return int(done.stdout)

    push = ("push", "--target", "linux-x86_64", "--mode", mode)
    process = subprocess.Popen([EDGEDEPLOY, *push], cwd=scratch_project, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while count() < 2:
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.3)
        process.send_signal(number)
        assert process.wait(timeout=30) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    finally:
        process.kill()
    until = time.monotonic() + 20
    while count():
        assert time.monotonic() < until
        time.sleep(0.5)


def test_what_cannot_be_is_refused_before_anything_is_done(run: Run, scratch_project: Path) -> None:
    write_quick(scratch_project)
    file = scratch_project / "edgedeploy.toml"
    file.write_text(file.read_text().replace("pixel8", "iphone15").replace('exporters = ["executorch"]', ""))
    done = run("push", "--target", "iphone15", "--mode", "sustained", cwd=scratch_project)
    assert done.exit_code == 2
    assert "one inference after the other" in done.stderr
    assert "--mode single" in done.stderr
    unknown = run("push", "--target", "this-machine", "--mode", "offline", cwd=scratch_project)
    assert (unknown.exit_code, "'offline'" in unknown.stderr) == (2, True)
    both = run("push", "--target", "this-machine", "--mode", "burst", "--no-measure", cwd=scratch_project)
    assert both.exit_code == 2
    write_quick(scratch_project, throughput="{ instances = 0 }")
    zero = run("push", "--target", "this-machine", "--mode", "throughput", cwd=scratch_project)
    assert (zero.exit_code, "deploy[0].measure.throughput.instances" in zero.stderr) == (2, True)


def test_a_load_that_cannot_be_had_is_an_error_and_no_figure(run: Run, scratch_project: Path) -> None:
    write_quick(scratch_project, exporter="tflite", concurrent='{ busy = 0, command = "no-such-program", pairs = 2 }')
    done = run("push", "--target", "this-machine", "--mode", "concurrent", "--json", cwd=scratch_project)
    assert done.exit_code == 6
    error = done.document["runs"][0]["error"]
    assert "load ended before" in error["what"]
    assert "exit code 127" in error["seen"]
