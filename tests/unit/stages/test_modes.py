"""Each mode with a runner that is made up and a real shell; real runners are in tests/integration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from unit.stages.planned import FP32, Heard, artifact, planned, runner

from edgedeploy.domain.conditions import During, Sample
from edgedeploy.domain.mode import Burst, Cold, Concurrent, Sustained, Throughput
from edgedeploy.domain.mode_figures import (
    BurstFigures,
    ColdFigures,
    ConcurrentFigures,
    SustainedFigures,
    ThroughputFigures,
)
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError
from edgedeploy.runners.document import RunnerDocument, WindowDocument
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.modes.burst import burst
from edgedeploy.stages.modes.cold import cold
from edgedeploy.stages.modes.concurrent import concurrent
from edgedeploy.stages.modes.session import Session, Taken, paced
from edgedeploy.stages.modes.sustained import figures_of, sustained, window_s
from edgedeploy.stages.modes.throughput import throughput, together
from edgedeploy.transports.local import LocalConnection

MS = 1_000_000

# A runner that does as it is told, but infers nothing. `broken` beside it: the instance of that number fails.
RUNNER = """\
import json, os, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
here, out = os.path.dirname(os.path.abspath(__file__)), given["--output-dir"]
number = os.path.basename(out)
if os.path.exists(here + "/broken") and open(here + "/broken").read() == number:
    print(json.dumps({"schema": "edgedeploy.runner/1", "error": {"stage": "load", "message": "no such kernel"}}))
    sys.exit(1)
if given.get("--barrier") == "1":
    time.sleep(0.1 if number == "1" else 0)
    ready = time.monotonic_ns()
    os.write(3, b".")
    if not os.read(0, 1):
        message = "another process ended before all were ready"
        print(json.dumps({"schema": "edgedeploy.runner/1", "error": {"stage": "turn", "message": message}}))
        sys.exit(1)
began = time.monotonic_ns()
iterations = int(given["--iterations"])
document = {
    "schema": "edgedeploy.runner/1",
    "runner": {"name": "made up", "version": "1", "engine": "none", "engine_version": "1"},
    "model": {"sha256": SHA, "size_bytes": 100}, "threads": 1, "cpus": [0],
    "clock": {"name": "CLOCK_MONOTONIC", "resolution_ns": 1},
    "load_ns": 5_000_000, "rss_before_load_bytes": 1, "peak_rss_bytes": 2, "first_inference_ns": 3_000_000, "warmup_ns": [],
    "latency_ns": [1_000_000] * iterations, "cases": 1,
    "outputs": [{"dtype": "float32", "shape": [2], "file": "output_0.bin"}],
}
if given.get("--cold") == "1":
    document["cached_bytes_before_load"] = 10
if "--bursts" in given:
    bursts = int(given["--bursts"])
    document["bursts"] = [{"began_ns": began, "iterations": iterations}] * bursts
    document["latency_ns"] = ([4_000_000] + [1_000_000] * (iterations - 1)) * bursts
if "--window-seconds" in given:
    document["windows"] = [{"began_ns": began + n * 10**8, "iterations": 50, "kept": 2} for n in range(60)]
    document["latency_ns"] = [2_000_000, 2_000_000] * 60
    document["timed_ns"], document["suspended_ns"] = 6 * 10**9, 0
if given.get("--barrier") == "1":
    open(out + "/times", "w").write(f"{ready} {began}")
print(json.dumps(document))
"""


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    made = artifact(tmp_path / "artifact", planned(lane=FP32))
    bundle = runner(
        tmp_path / "runner", content=RUNNER.replace("SHA", repr(made.sha256)).encode(), start=(sys.executable, "{dir}/run")
    )
    (tmp_path / "work/runs/1").mkdir(parents=True)
    return Placed(
        artifact=made,
        bundle=bundle,
        artifact_dir=str(tmp_path / "artifact"),
        runner_dir=str(tmp_path / "runner"),
        scratch=str(tmp_path / "work/runs/1"),
        python=sys.executable,
        device="here",
    )


def session(placed: Placed, policy: MeasurePolicy) -> Session:
    return Session(connection=LocalConnection("here"), placed=placed, policy=paced(policy), sink=Heard(), subject="net on here")


def test_of_bursts_the_places_are_told(placed: Placed) -> None:
    policy = MeasurePolicy(mode="burst", processes=2, burst=Burst(invocations=3, idle_s=0.5, bursts=4))
    taken = burst(session(placed, policy))
    assert taken.figures == BurstFigures(
        bursts=8, invocations=3, idle_s=0.5, place_p50_ns=(4 * MS, MS, MS), burst_p50_ns=6 * MS, burst_p90_ns=6 * MS
    )
    assert [len(process.latency_ns) for process in taken.processes] == [12, 12]


def test_of_cold_starts_the_first_inference_counts(placed: Placed) -> None:
    taken = cold(session(placed, MeasurePolicy(mode="cold", cold=Cold(starts=3, drop_caches=False))))
    assert isinstance(taken.figures, ColdFigures)
    assert (taken.figures.starts, taken.figures.dropped, taken.figures.not_dropped) == (3, False, "not asked for")
    assert taken.figures.cached == (0.1,) * 3
    assert taken.figures.until_first_ns.p50 == 8 * MS
    assert [process.latency_ns for process in taken.processes] == [(3 * MS,)] * 3


def test_instances_begin_when_all_are_ready(placed: Placed) -> None:
    policy = MeasurePolicy(mode="throughput", processes=1, throughput=Throughput(instances=3, seconds=6))
    taken = throughput(session(placed, policy))
    assert isinstance(taken.figures, ThroughputFigures)
    assert (len(taken.processes), taken.figures.instances, taken.figures.per_second.repetitions) == (6, 3, 2)
    assert taken.figures.per_second.mean == pytest.approx(3 * 60 * 50 / 6)
    times = [(Path(placed.scratch) / f"together/{number}/times").read_text().split() for number in range(3)]
    assert max(int(ready) for ready, _ in times) <= min(int(began) for _, began in times)
    assert taken.outputs == f"{placed.scratch}/together/0"


def test_one_instance_is_its_own_company(placed: Placed) -> None:
    policy = MeasurePolicy(mode="throughput", throughput=Throughput(instances=1, seconds=6))
    assert len(throughput(session(placed, policy)).processes) == policy.processes


@pytest.mark.parametrize("broken", ["0", "2"])
def test_an_instance_that_fails_ends_the_others_and_is_the_one_that_is_told(placed: Placed, broken: str) -> None:
    (Path(placed.runner_dir) / "broken").write_text(broken)
    policy = MeasurePolicy(mode="throughput", throughput=Throughput(instances=3, seconds=6))
    with pytest.raises(RunnerError, match="stage 'load'") as caught:
        together(session(placed, policy), LocalConnection("here"), 3)
    assert f"instance {int(broken) + 1} of 3" in caught.value.where
    left = subprocess.run(["pgrep", "-f", placed.scratch], capture_output=True, text=True, check=False).stdout
    assert not left


def test_beside_a_load_and_without_come_in_pairs(placed: Placed) -> None:
    settings = Concurrent(busy=0, command="echo here >&2; exec sleep 60", pairs=2)
    taken = concurrent(session(placed, MeasurePolicy(mode="concurrent", iterations=20, concurrent=settings)))
    assert isinstance(taken.figures, ConcurrentFigures)
    assert taken.figures.load == "`echo here >&2; exec sleep 60`"
    assert (taken.figures.p50.ratio, taken.figures.pairs, len(taken.processes)) == (1.0, 2, 2)
    assert [len(group) for group in taken.figures.quiet_ns] == [20, 20]


def test_a_load_that_ends_early_is_no_load(placed: Placed) -> None:
    settings = Concurrent(busy=1, command="echo cannot >&2; exit 5", pairs=2)
    with pytest.raises(RunnerError, match="load ended before") as caught:
        concurrent(session(placed, MeasurePolicy(mode="concurrent", concurrent=settings)))
    assert caught.value.seen.endswith("exit code 5: cannot")
    assert "1 busy program" in caught.value.seen


def test_minutes_are_told_by_windows(placed: Placed) -> None:
    policy = MeasurePolicy(mode="sustained", sustained=Sustained(minutes=0.1))
    taken = sustained(session(placed, policy))
    assert isinstance(taken.figures, SustainedFigures)
    assert (taken.figures.seconds, len(taken.figures.windows), taken.figures.slower_after_s) == (6.0, 60, None)
    assert taken.figures.windows[1].at_s == pytest.approx(0.1)


@pytest.mark.parametrize(("seconds", "each_s"), [(6, 0.1), (60, 1), (600, 1), (3600, 6)])
def test_windows_are_neither_too_many_nor_too_few(seconds: float, each_s: float) -> None:
    assert window_s(seconds) == pytest.approx(each_s)


def sustained_document(p50_ns: list[int], *, suspended_ns: int | None = 7 * 10**9) -> RunnerDocument:
    """Windows of a second, from 100 s of the monotonic clock on."""
    like = {"schema": "edgedeploy.runner/1", "threads": 1, "cpus": [0], "load_ns": 1, "rss_before_load_bytes": 1}
    return msgspec.convert(
        {
            **like,
            "runner": {"name": "r", "version": "1", "engine": "e", "engine_version": "1"},
            "model": {"sha256": "0" * 64, "size_bytes": 1},
            "clock": {"name": "c", "resolution_ns": 1},
            "peak_rss_bytes": 1,
            "first_inference_ns": 1,
            "warmup_ns": [],
            "latency_ns": p50_ns,
            "windows": [
                msgspec.to_builtins(WindowDocument(began_ns=(100 + at) * 10**9, iterations=9, kept=1))
                for at in range(len(p50_ns))
            ],
            "timed_ns": len(p50_ns) * 10**9,
            "suspended_ns": suspended_ns,
            "cases": 1,
            "outputs": [],
        },
        RunnerDocument,
    )


def looks(count: int, *, began_uptime_s: float = 105.0) -> During:
    """Twice a second, from two seconds before the first window on; from 60 s on the clock is low and something else runs."""
    samples = tuple(
        Sample(
            at_s=at / 2,
            hottest_c=40.0 + at / 2,
            clocks_hz=(2_000_000_000 if at < 124 else 1_500_000_000, None),
            limits_hz=(2_400_000_000, 2_400_000_000),
            busy=1.0 if at < 124 else 2.0,
            own=1.0,
        )
        for at in range(2 * count)
    )
    return During(samples=samples, cpus=(0, 1), began_uptime_s=began_uptime_s)


def test_temperatures_and_clocks_are_those_of_the_same_moment() -> None:
    document = sustained_document([MS] * 60 + [2 * MS] * 60)
    found = figures_of(document, looks(200), 0.1)
    assert found.windows[0].hottest_c == pytest.approx(42.25)  # 107 s after the start of the device
    assert (found.windows[59].clock_hz, found.windows[60].clock_hz) == (2_000_000_000, 1_500_000_000)
    assert (found.slower_after_s, found.first_p50_ns, found.last_p50_ns) == (60.0, MS, 2 * MS)
    assert found.signs == (
        "the clock fell from 2.00 to 1.50 GHz",
        "something else ran there: 1.00 processors worked for others, 0.00 before",
    )


@pytest.mark.parametrize("during", [During(), looks(200, began_uptime_s=9e6)], ids=["not watched", "another clock"])
def test_without_looks_at_the_same_moment_nothing_is_made_up(during: During) -> None:
    found = figures_of(sustained_document([MS] * 60 + [2 * MS] * 60), during, 0.1)
    assert {(window.hottest_c, window.clock_hz, window.others) for window in found.windows} == {(None, None, None)}
    assert (found.slower_after_s, found.signs) == (60.0, ())


def test_a_run_too_short_to_tell_says_so() -> None:
    found = figures_of(sustained_document([MS] * 5), During(), 0.1)
    assert "5 windows are too few" in found.signs[0]


def test_every_mode_keeps_what_the_policy_says_of_the_rest() -> None:
    policy = MeasurePolicy(threads=4, cpus=(1,), iterations=77, min_seconds=3)
    assert paced(policy) == policy
    changed = paced(msgspec.structs.replace(policy, mode="sustained"))
    assert (changed.threads, changed.cpus, changed.iterations, changed.min_seconds, changed.max_seconds) == (4, (1,), 1, 0, 600)
    assert paced(msgspec.structs.replace(policy, mode="burst")).iterations == 10
    assert paced(msgspec.structs.replace(policy, mode="throughput")).max_seconds == 10


def test_a_mode_gives_back_what_was_seen_meanwhile(placed: Placed) -> None:
    taken = burst(session(placed, MeasurePolicy(mode="burst", processes=1)))
    assert isinstance(taken, Taken)
    assert taken.during.samples
