"""Several devices at once, on fakes in memory with real stores; the runner is a shell script that speaks the protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from unit.stages.bench import Bench, Unit
from unit.stages.planned import FP32, INT8, Heard, planned, prepared, runner, target
from unit.stages.test_ring_at_work import MadeUpFight

from edgedeploy import registry
from edgedeploy.cache import Cache
from edgedeploy.deploy.device_shell import DeviceShell
from edgedeploy.deploy.lease import Leases
from edgedeploy.domain.comparison import Figure
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Finished, Note
from edgedeploy.domain.measurement import Agreement, DeviceFacts, WarmUp
from edgedeploy.domain.project import Patience
from edgedeploy.domain.recipe import Budget
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.result import PushReport, RunResult, Verification
from edgedeploy.domain.target import Abi, Lane, MeasurePolicy
from edgedeploy.errors import CommandTimeoutError, DeviceLostError, DeviceUnavailableError, MissingToolError
from edgedeploy.host import host_abi
from edgedeploy.ports import Completed
from edgedeploy.stages import ring as ring_module
from edgedeploy.stages.deliver import Delivery, deliver
from edgedeploy.stages.ring import Opponents
from edgedeploy.stages.run_result import Ready, failed_run
from edgedeploy.transports.local import LocalConnection

SCRIPT = r"""
while [ $# -gt 0 ]; do
  case $1 in --cold) cold=1 ;; --model) model=$2 ;; --output-dir) out=$2 ;; --iterations) n=$2 ;; esac
  shift 2
done
case $model in
  *crashing*) kill -s SEGV $$ ;;
  *killed*) kill -s KILL $$ ;;
  *foreign*) echo "sh: run: Exec format error" >&2; exit 126 ;;
esac
case $model in *broken*)
  echo '{"schema": "edgedeploy.runner/1", "error": {"stage": "load", "message": "no kernel for aten::roll"}}'; exit 1 ;;
esac
printf '\000\000\200\077\000\000\000\100' > "$out/output_0.bin"
sha=$(sha256sum < "$model"); sha=${sha%% *}
wrote=$(sha256sum < "$out/output_0.bin"); wrote=${wrote%% *}
case $model in *restless*) more='"warmup_iterations": 7, "steady": null, ' ;; esac
case $model in *bent*) printf '\000' > "$out/output_0.bin" ;; esac
samples=1000; i=1
while [ "$i" -lt "$n" ]; do samples="$samples, $((1000 + i))"; i=$((i + 1)); done
echo '{"schema": "edgedeploy.runner/1", "runner": {"name": "script", "version": "1", "engine": "sh", "engine_version": "1"},
  "model": {"sha256": "'$sha'", "size_bytes": 1}, "threads": 1, "cpus": [0], "clock": {"name": "none", "resolution_ns": 1},
  "load_ns": '${cold:+9}'5000, '${cold:+'"cached_bytes_before_load": 0, '}'"first_inference_ns": 7000, "warmup_ns": [], "latency_ns": ['$samples'], "rss_before_load_bytes": 1,
  "peak_rss_bytes": 2000000, "cases": 1,
  '$more'"outputs": [{"dtype": "float32", "shape": [2], "file": "output_0.bin", "sha256": "'$wrote'"}]}'
"""
POLICY = MeasurePolicy(processes=2, iterations=3, warmup_iterations=0)
HOST = Verification(host=Agreement(max_abs_error=0.0, cosine=1.0, sqnr_db=None, exact=True))


class FakeProbe:
    """Says what the test wants; reads nothing."""

    def __init__(self, abi: str | None) -> None:
        self.abi = abi
        self.oom_kills: Callable[[], int | None] = lambda: None

    def command(self, workdir: str) -> tuple[str, ...]:
        return ("echo",)

    def parse(self, output: str) -> DeviceFacts:
        return DeviceFacts(os="linux", abi=self.abi, throttled=False, oom_kills=self.oom_kills())


class Desk:
    """What is to be delivered, and the units it goes to."""

    def __init__(self, folder: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.transport = folder, bench.transport("fake")
        self.heard = Heard()
        self.kept: list[RunResult] = []
        self.probe = FakeProbe(host_abi())
        monkeypatch.setattr(registry, "probe", lambda _os: self.probe)

    def runner(self) -> RunnerBundle:
        return runner(self.folder / "runner", content=SCRIPT.encode(), start=("sh", "{dir}/run"))

    def ready(
        self, model: str, *, bundled: bool = True, abi: Abi | None = None, budget: Budget | None = None, lane: Lane = FP32
    ) -> Ready:
        run = planned(model, policy=POLICY, budget=budget, lane=lane)
        made = prepared(self.folder / "exports" / model / lane.id, run, content=model.encode())
        own = self.runner() if bundled else None
        return Ready(prepared=made, host=HOST, runner=own, runner_abi=(abi or host_abi()) if bundled else None)

    def unit(self, name: str, **how: object) -> Unit:
        device = Device(name=name, transport="fake", target="bench", address=name, workdir=str(self.folder / name), state="ready")
        if "state" in how:
            device = msgspec.structs.replace(device, state=how.pop("state"))
        unit = Unit(device, **how)  # type: ignore[arg-type]
        self.transport.found.append(unit)
        return unit

    def deliver(
        self, *ready: Ready, measured: bool = True, wait_s: float = 0, retry_for_s: float = 0, gates: Sequence[Opponents] = ()
    ) -> tuple[RunResult, ...]:
        delivery = Delivery(
            project="demo",
            target=target(os="host", abi="host"),
            ready=ready,
            measured=measured,
            patience=Patience(wait_s=wait_s, retry_for_s=retry_for_s),
            opponents={gate.candidate.prepared.run.folder: gate for gate in gates},
        )
        devices = [unit.device for unit in self.transport.found]
        return deliver(delivery, devices, Cache(self.folder / "cache"), self.heard, keep=self.kept.append)

    def release(self, name: str) -> Path:
        return self.folder / name / "projects/demo/current"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """No unit yet."""
    return Desk(tmp_path, Bench(monkeypatch), monkeypatch)


def told(results: Sequence[RunResult]) -> list[tuple[str, str, str]]:
    return [(result.device, result.model, result.verdict.status) for result in results]


def test_one_device_gets_push_samples_and_verdict(desk: Desk) -> None:
    unit = desk.unit("a")
    (result,) = desk.deliver(desk.ready("net"))
    assert (result.device, result.target, result.project, result.error) == ("a", "bench", "demo", None)
    assert result.verdict.status == "pass"
    assert result.latency_ns is not None
    assert (result.latency_ns.samples, result.latency_ns.p50) == ((1000, 1001, 1002, 1000, 1001, 1002), 1001)
    assert (result.load_cold_ns, result.load_cold_cached) == (95_000, 0.0)
    assert (result.load_ns, result.peak_rss_bytes, len(result.processes)) == (5000, 2_000_000, 2)
    assert result.artifact is not None
    assert result.device_sha256 == result.artifact.sha256
    assert result.verify.host == HOST.host
    assert result.verify.device is not None
    assert result.verify.device.exact
    assert result.push is not None
    assert result.push.bytes_sent == result.push.bytes_total > 0
    assert desk.kept == [result]
    assert [connection.closed for connection in unit.connections] == [1]
    assert list((desk.folder / "a/runs").iterdir()) == []


def test_a_device_that_fails_holds_up_no_other_and_results_stay_grouped_by_device(desk: Desk) -> None:
    units = [desk.unit("a"), desk.unit("b", lost_at="pour"), desk.unit("c", state="unauthorized"), desk.unit("d")]
    results = desk.deliver(desk.ready("one"), desk.ready("two"))
    assert told(results) == [
        ("a", "one", "pass"), ("a", "two", "pass"),
        ("b", "one", "error"), ("b", "two", "error"),
        ("c", "one", "error"), ("c", "two", "error"),
        ("d", "one", "pass"), ("d", "two", "pass"),
    ]  # fmt: skip
    lost, refused = results[2].error, results[4].error
    assert lost is not None
    assert (lost.kind, lost.exit_code, lost.retryable, lost.what) == ("DeviceLostError", 5, True, "b went away")
    assert refused is not None
    assert (refused.kind, refused.retryable, refused.next_step) == ("DeviceUnavailableError", False, "tap Allow on its screen")
    assert results[2].artifact is not None
    assert results[2].verify.host == HOST.host
    assert not desk.release("b").exists()
    assert desk.release("a").is_symlink()
    assert sorted(told(desk.kept)) == sorted(told(results))
    assert [connection.closed for unit in units for connection in unit.connections] == [1, 1, 1]
    assert PushReport(edgedeploy="0", project="demo", target="bench", runs=results).exit_code == 5


def test_a_run_that_fails_on_the_device_holds_up_no_other_run(desk: Desk) -> None:
    desk.unit("a")
    results = desk.deliver(desk.ready("broken"), desk.ready("net"))
    assert told(results) == [("a", "broken", "error"), ("a", "net", "pass")]
    error = results[0].error
    assert error is not None
    assert (error.kind, error.exit_code) == ("RunnerError", 6)
    assert "no kernel for aten::roll" in error.seen + error.what
    assert results[0].push is not None
    assert results[0].latency_ns is None
    assert list((desk.folder / "a/runs").iterdir()) == []


def test_ways_of_not_ending_well_are_told_apart(desk: Desk) -> None:
    def hangs(argv: Sequence[str]) -> Completed | None:
        if "--model" in argv and any("models/hanging/" in word for word in argv):
            raise CommandTimeoutError("no end after 380 s")
        return None

    desk.unit("a", answers=hangs)
    results = desk.deliver(*(desk.ready(name) for name in ("crashing", "killed", "foreign", "hanging", "broken", "net")))
    errors = {result.model: result.error for result in results if result.error is not None}
    assert {model: error.what for model, error in errors.items()} == {
        "crashing": "the runner died of SIGSEGV",
        "killed": "the runner died of SIGKILL",
        "foreign": "the runner is not executable on this device (exit code 126)",
        "hanging": "the runner did not end in time and was killed",
        "broken": "the runner failed at stage 'load'",
    }
    assert len({error.next_step for error in errors.values()}) == len(errors)
    assert "memory" in errors["killed"].next_step
    assert "abi" in errors["foreign"].next_step
    assert {error.exit_code for error in errors.values()} == {6}


def test_when_memory_ran_out_the_kernels_count_says_so(desk: Desk) -> None:
    counts = iter(range(9))
    desk.probe.oom_kills = lambda: next(counts)
    desk.unit("a")
    (result,) = desk.deliver(desk.ready("killed"))
    assert result.error is not None
    assert (result.error.kind, result.error.what) == (
        "RunnerKilledError", "memory ran out, and the kernel ended the runner",
    )  # fmt: skip


def test_outputs_that_change_after_they_were_written_are_not_compared(desk: Desk) -> None:
    desk.unit("a")
    (result,) = desk.deliver(desk.ready("bent"))
    assert result.error is not None
    assert result.error.what == "output_0.bin is not what the runner wrote"


def test_processes_that_never_became_steady_are_told_of(desk: Desk) -> None:
    desk.unit("a")
    (result,) = desk.deliver(desk.ready("restless"))
    assert result.verdict.status == "pass"
    assert [process.warm_up for process in result.processes] == [WarmUp(iterations=7, steady_since=None)] * 2
    notes = [event.text for event in desk.heard if isinstance(event, Note)]
    assert "a: 2 of 2 processes never became steady in 5 s of warm-up; is something else running there?" in notes


def test_a_device_lost_between_two_runs_keeps_the_first_and_names_the_rest(desk: Desk) -> None:
    def unplugged_at_two(argv: Sequence[str]) -> Completed | None:
        if any("models/two/" in word for word in argv):
            raise DeviceLostError("the cable was pulled")
        return None

    desk.unit("a", answers=unplugged_at_two)
    results = desk.deliver(desk.ready("one"), desk.ready("two"), desk.ready("three"))
    assert told(results) == [("a", "one", "pass"), ("a", "two", "error"), ("a", "three", "error")]
    assert results[1].error is not None
    assert results[1].error.retryable


def test_a_device_that_comes_back_goes_on_where_it_was(desk: Desk) -> None:
    lost = iter([True, True, False])

    def flaps_at_two(argv: Sequence[str]) -> Completed | None:
        if any("models/two/" in word for word in argv) and next(lost, False):
            raise DeviceLostError("the cable was pulled")
        return None

    unit = desk.unit("a", answers=flaps_at_two)
    results = desk.deliver(desk.ready("one"), desk.ready("two"), desk.ready("three"), retry_for_s=60)
    assert told(results) == [("a", "one", "pass"), ("a", "two", "pass"), ("a", "three", "pass")]
    assert [connection.closed for connection in unit.connections] == [1, 1, 1]
    notes = [event.text for event in desk.heard if isinstance(event, Note)]
    assert notes == ["a: the cable was pulled; trying again"] * 2
    assert results[0].push is not None
    assert results[1].push is not None
    assert results[0].push.bytes_sent > 0
    leases = desk.folder / "a/leases"
    assert [" 0 0 " in str(lease.readlink()) for lease in leases.iterdir()] == [True]  # given back


def test_a_device_that_somebody_else_has_is_not_touched(desk: Desk) -> None:
    unit = desk.unit("a")
    theirs = Leases(DeviceShell(LocalConnection("a"), "a"), unit.device.workdir)
    theirs.take(token="theirs", owner="ann@ci", purpose="push net", waiting=lambda _holder: None)
    (result,) = desk.deliver(desk.ready("net"), retry_for_s=60)
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == ("DeviceBusyError", True)
    assert "ann@ci" in result.error.what
    assert not desk.release("a").exists()
    freed = threading.Timer(0.3, lambda: theirs.release("theirs"))
    freed.start()
    (result,) = desk.deliver(desk.ready("net"), wait_s=60)
    freed.join()
    assert result.verdict.status == "pass"
    assert "a: waiting for ann@ci, push net" in [event.text for event in desk.heard if isinstance(event, Note)]


def test_a_lease_that_was_taken_before_is_used_and_kept(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = desk.unit("a")
    mine = Leases(DeviceShell(LocalConnection("a"), "a"), unit.device.workdir)
    mine.take(token="mine", owner="ann", purpose="debugging", waiting=lambda _holder: None)
    monkeypatch.setenv("EDGEDEPLOY_LEASE", "mine")
    (result,) = desk.deliver(desk.ready("net"))
    assert result.verdict.status == "pass"
    holder = mine.holder()
    assert holder is not None
    assert holder.purpose == "debugging"


def test_a_budget_missed_on_one_device_is_told_there(desk: Desk) -> None:
    desk.unit("a")
    (result,) = desk.deliver(desk.ready("net", budget=Budget(peak_rss_mb=1)))
    assert result.verdict.status == "fail"
    assert result.error is None
    assert PushReport(edgedeploy="0", project="demo", target="bench", runs=(result,)).exit_code == 1


def test_deploying_without_measuring_starts_no_runner(desk: Desk) -> None:
    desk.unit("a")
    (result,) = desk.deliver(desk.ready("broken"), measured=False)
    assert result.verdict.status == "unmeasured"
    assert result.latency_ns is None
    assert result.push is not None
    assert result.push.release == 1
    assert (desk.release("a") / "models/broken/fp32/executorch-xnnpack-fp32/model.pte").read_bytes() == b"broken"


def test_a_device_of_another_kind_is_refused_before_anything_is_sent(desk: Desk) -> None:
    desk.unit("a")
    desk.probe.abi = "linux-armv7l"
    (result,) = desk.deliver(desk.ready("net"))
    assert result.error is not None
    assert result.error.kind == "DeviceUnavailableError"
    assert result.error.seen == f"linux-armv7l, the target says {host_abi()}"
    assert not (desk.folder / "a").exists()


def test_a_device_that_does_not_say_what_it_is_is_tried(desk: Desk) -> None:
    desk.unit("a")
    desk.probe.abi = None
    assert told(desk.deliver(desk.ready("net"))) == [("a", "net", "pass")]


class NoRuntime:
    """Runs everything, and cannot be had."""

    formats = frozenset({"pte"})
    uses_python = False

    def runs_on(self, *_about: object) -> bool:
        return True

    def requirement(self, *_about: object) -> str:
        return ""

    def bundle(self, *_about: object, **_how: object) -> RunnerBundle:
        raise MissingToolError("no compiler")


def test_a_run_without_a_runner_fails_alone_and_a_runner_of_another_kind_is_not_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "runtime", lambda _name: NoRuntime())
    desk.unit("a")
    results = desk.deliver(desk.ready("foreign", abi="android-arm64"), desk.ready("bare", bundled=False), desk.ready("net"))
    assert told(results) == [("a", "foreign", "error"), ("a", "bare", "error"), ("a", "net", "pass")]
    assert results[0].error is not None
    assert results[0].error.exit_code == 3
    assert not (desk.release("a") / "models/foreign").exists()


def test_when_no_run_has_a_runner_the_device_is_left_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "runtime", lambda _name: NoRuntime())
    desk.unit("a")
    assert told(desk.deliver(desk.ready("net", bundled=False))) == [("a", "net", "error")]
    assert not (desk.folder / "a").exists()


def test_devices_are_served_at_once(desk: Desk) -> None:
    together = threading.Barrier(3, timeout=30)

    def meet(argv: Sequence[str]) -> Completed | None:
        if "--model" in argv and "--iterations" in argv and not met.get(threading.get_ident()):
            met[threading.get_ident()] = True
            together.wait()
        return None

    met: dict[int, bool] = {}
    for name in ("a", "b", "c"):
        desk.unit(name, answers=meet)
    assert [result.verdict.status for result in desk.deliver(desk.ready("net"))] == ["pass"] * 3
    assert sum(isinstance(event, Finished) and event.stage == "measure" for event in desk.heard) == 3


def test_ctrl_c_closes_every_connection_and_goes_on_up(desk: Desk) -> None:
    def interrupted(_argv: Sequence[str]) -> Completed | None:
        raise KeyboardInterrupt

    units = [desk.unit("a", answers=interrupted), desk.unit("b")]
    with pytest.raises(KeyboardInterrupt):
        desk.deliver(desk.ready("net"))
    assert all(connection.closed >= 1 for unit in units for connection in unit.connections)


def test_a_failed_run_says_all_the_error_says() -> None:
    error = DeviceUnavailableError("off", where="a", seen="nothing", next_step="switch it on")
    result = failed_run(planned("net"), "demo", "bench", "a", error)
    assert json.loads(msgspec.json.encode(result.error)) == {
        "kind": "DeviceUnavailableError",
        "exit_code": 5,
        "retryable": False,
        "what": "off",
        "where": "a",
        "seen": "nothing",
        "next_step": "switch it on",
    }
    assert result.verdict.reasons == ("off",)


def gated(desk: Desk, item: Ready) -> Opponents:
    """Against a baseline of another file; that both are equally fast is made up."""
    folder = desk.folder / "baseline"
    base = msgspec.structs.replace(item, prepared=prepared(folder, item.prepared.run, content=b"the baseline"))
    bounds: tuple[tuple[Figure, float], ...] = (("latency_p50", 0.1),)
    return Opponents(base=base, candidate=item, base_origin="baseline", candidate_origin="now", bounds=bounds)


class LostInGates:
    """A device that goes away each time that something is deployed for a comparison, ``times`` times; counts what it measures."""

    def __init__(self, times: int) -> None:
        self.left, self.measured = times, 0

    def __call__(self, argv: Sequence[str]) -> Completed | None:
        self.measured += "--cold" in argv
        if self.left and any("demo+compare" in word for word in argv):
            self.left -= 1
            raise DeviceLostError("the cable was pulled")
        return None


def test_a_device_lost_in_a_gate_does_not_measure_again_what_was_measured(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "Fight", lambda *about, **more: MadeUpFight([], *about, **more))
    lost = LostInGates(2)
    desk.unit("a", answers=lost)
    item = desk.ready("net")
    results = desk.deliver(item, desk.ready("two"), retry_for_s=60, gates=[gated(desk, item)])
    assert told(results) == [("a", "net", "pass"), ("a", "two", "pass")]
    assert (lost.left, lost.measured) == (0, 2)
    assert desk.kept == list(results)
    assert results[0].gate is not None
    assert (results[0].gate.verdict, results[0].error) == ("pass", None)
    assert results[0].push is not None
    assert results[0].push.bytes_sent > 0


def test_a_device_lost_in_a_gate_for_good_keeps_what_was_measured(desk: Desk) -> None:
    desk.unit("a", answers=LostInGates(99))
    item = desk.ready("net")
    results = desk.deliver(item, desk.ready("two"), gates=[gated(desk, item)])
    assert told(results) == [("a", "net", "error"), ("a", "two", "error")]
    first = results[0]
    assert first.latency_ns is not None
    assert first.ungated is not None
    assert first.ungated.status == "pass"
    assert first.gate is not None
    assert (first.gate.verdict, first.gate.candidate.sha256 != first.gate.base.sha256) == ("error", True)
    assert first.error is not None
    assert (first.error.kind, first.error.retryable) == ("DeviceLostError", True)
    assert desk.kept == list(results)
    assert PushReport(edgedeploy="0", project="demo", target="bench", runs=results).exit_code == 5


def test_ctrl_c_in_a_gate_keeps_what_was_measured(desk: Desk) -> None:
    in_gate = threading.Event()

    def in_its_gate(argv: Sequence[str]) -> Completed | None:
        if any("demo+compare" in word for word in argv):
            in_gate.set()
            while not unit.connections[-1].closed:
                in_gate.wait(0.001)
            raise DeviceLostError("the connection was closed")
        return None

    def interrupted(_argv: Sequence[str]) -> Completed | None:
        in_gate.wait(30)
        raise KeyboardInterrupt

    unit = desk.unit("a", answers=in_its_gate)
    desk.unit("b", answers=interrupted)
    item = desk.ready("net")
    with pytest.raises(KeyboardInterrupt):
        desk.deliver(item, desk.ready("two"), gates=[gated(desk, item)])
    (kept,) = desk.kept
    assert (kept.device, kept.model, kept.verdict.status) == ("a", "net", "error")
    assert kept.latency_ns is not None


def test_of_the_candidates_of_an_automatic_recipe_only_the_one_that_is_chosen_is_gated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate may take minutes, and what is passed over is judged by none."""
    fights: list[MadeUpFight] = []
    monkeypatch.setattr(ring_module, "Fight", lambda *about, **more: MadeUpFight(fights, *about, **more))
    lost = LostInGates(1)
    desk.unit("a", answers=lost)
    items = [
        as_candidate(desk.ready("net", lane=lane, budget=budget)) for lane, budget in ((INT8, Budget(size_mb=1e-6)), (FP32, None))
    ]
    other = desk.ready("two")
    results = desk.deliver(*items, other, retry_for_s=60, gates=[gated(desk, item) for item in (*items, other)])
    assert told(results) == [("a", "two", "pass"), ("a", "net", "fail"), ("a", "net", "pass")]
    assert [result.gate is not None for result in results] == [True, False, True]
    assert (len(fights), lost.measured) == (2, 3)
    assert desk.kept == list(results)


def as_candidate(item: Ready) -> Ready:
    run = msgspec.structs.replace(item.prepared.run, recipe_name="auto", automatic=True)
    return msgspec.structs.replace(item, prepared=msgspec.structs.replace(item.prepared, run=run))
