"""Which runs may be put beside one another, and what they say of a new one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from documents import failed_run, measured_run
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgedeploy.domain.conditions import FixedClock
from edgedeploy.domain.measurement import Core, Environment
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.result import RunResult
from edgedeploy.results.past import looked_back, series_around
from edgedeploy.results.series import environment_of, remarks_on, series_of, with_remarks

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def run(day: int, base_ns: int = 8_000_000, *, build: str = "AP4A", sha256: str = "5f" * 32) -> RunResult:
    """A measured run on a day."""
    made = measured_run(
        run_id=f"run-{day:03}", created_at=(START + dt.timedelta(days=day)).isoformat(), iterations=5, base_ns=base_ns
    )
    assert made.environment is not None
    assert made.artifact is not None
    before = replace(made.environment.before, os_build=build)
    return replace(made, environment=replace(made.environment, before=before), artifact=replace(made.artifact, sha256=sha256))


def kinds(runs: Sequence[RunResult]) -> list[tuple[str, str]]:
    return [(remark.kind, remark.run) for series in series_of(runs) for remark in series.remarks]


class Store:
    """What a store's ``runs`` gives."""

    def __init__(self, *runs: RunResult) -> None:
        self.all = runs

    def runs(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        target: str | None = None,
        device: str | None = None,
        lane: str | None = None,
        mode: Mode | None = None,
        limit: int = 50,
    ) -> tuple[RunResult, ...]:
        assert None not in {project, model, target, device, lane}
        found = [one for one in self.all if (one.model, one.device, one.lane.id) == (model, device, lane)]
        return tuple(sorted(found, key=lambda one: one.created_at, reverse=True)[:limit])


def test_an_update_of_the_system_begins_a_new_series_and_says_so() -> None:
    new, old = series_of([run(3, build="BP1A"), run(2), run(1)])
    assert (new.runs, old.runs) == (("run-003",), ("run-001", "run-002"))
    (remark,) = new.remarks
    assert (remark.kind, remark.run, remark.other) == ("new series", "run-003", "run-002")
    assert remark.text == "new series: OS build AP4A → BP1A"
    assert not remark.is_warning
    assert not old.remarks


def test_an_environment_that_comes_back_goes_on_with_its_series() -> None:
    back, other = series_of([run(1), run(2, build="BP1A"), run(3)])
    assert (back.runs, other.runs) == (("run-001", "run-003"), ("run-002",))
    assert back.remarks[0].text == "back in an earlier series: OS build BP1A → AP4A"


def test_what_makes_an_environment() -> None:
    found = measured_run().environment
    assert found is not None
    assert environment_of(found) == {
        "device model": "Pixel 8",
        "OS": "android 15",
        "OS build": "AP4A.250105.002",
        "kernel": "6.1.99-android14",
        "runner": "executorch-native 0.1.0",
        "runtime": "executorch 1.5.1",
        "threads": "1",
        "processors": "8",
        "governor": "sched_pixel",
    }
    held = replace(found, fixed_clock=FixedClock(how="held at 1 GHz"), cpus=(0,))
    assert environment_of(held)["fixed clock"] == "held at 1 GHz"
    assert "fixed clock" not in environment_of(replace(found, fixed_clock=FixedClock(refused="not root")))


def test_only_the_governors_of_the_processors_in_use_count() -> None:
    found = measured_run().environment
    assert found is not None
    cores = (Core(index=0, governor="powersave"), Core(index=8, governor="performance"), Core(index=9))
    some: Environment = replace(found, before=replace(found.before, cores=cores))
    assert environment_of(some)["governor"] == "performance"
    assert environment_of(replace(some, cpus=()))["governor"] == "performance, powersave"


def test_other_models_recipes_lanes_targets_and_devices_are_other_series() -> None:
    one = run(1)
    others = [
        replace(one, id="a", model="other"),
        replace(one, id="b", recipe="int8-static"),
        replace(one, id="c", lane=replace(one.lane, backend="vulkan")),
        replace(one, id="d", target="pixel9"),
        replace(one, id="e", device="other"),
    ]
    assert [len(series.runs) for series in series_of([one, *others])] == [1] * 6


def test_what_was_not_measured_is_of_no_series() -> None:
    untimed = replace(run(2), processes=())
    impossible = replace(run(3), processes=(replace(run(3).processes[0], latency_ns=(0, 0)),))
    assert series_of([failed_run(), untimed, impossible]) == ()
    assert series_around([failed_run()], Store()) == ()


def test_two_sessions_of_an_artifact_more_than_five_per_cent_apart_are_unstable() -> None:
    assert kinds([run(1), run(2, 8_400_000)]) == []
    (series,) = series_of([run(1), run(2, 9_000_000), run(3, 9_000_000)])
    (remark,) = series.remarks
    assert (remark.kind, remark.run, remark.other) == ("unstable", "run-002", "run-001")
    assert remark.before_ns is not None
    assert remark.after_ns is not None
    assert remark.after_ns - remark.before_ns == 1_000_000
    assert "faster in run run-001" in remark.text


def test_another_artifact_or_environment_is_no_other_session() -> None:
    assert kinds([run(1), run(2, 9_000_000, sha256="ab" * 32)]) == []
    assert kinds([run(1), run(2, 9_000_000, build="BP1A")]) == [("new series", "run-002")]


def test_a_session_is_compared_with_the_last_one_of_its_artifact() -> None:
    other = run(2, 4_000_000, sha256="ab" * 32)
    assert kinds([run(1), other, run(3, 9_000_000)]) == [("unstable", "run-003")]


def test_a_value_outside_of_its_series_is_told_with_what_was_expected() -> None:
    steady = [run(day, 8_000_000 + day % 3 * 20_000, sha256=f"{day:02}" * 32) for day in range(10)]
    remarks = remarks_on(run(10, 9_500_000, sha256="ab" * 32), steady)
    assert [remark.kind for remark in remarks] == ["outside"]
    assert "outside its series" in remarks[0].text
    assert remarks_on(run(10, 8_010_000, sha256="ab" * 32), steady) == ()


def test_a_step_is_told_by_the_run_that_made_it_plain_and_by_history_from_then_on() -> None:
    runs = [run(day, 8_000_000 if day < 20 else 8_800_000, sha256=("ab" if day < 20 else "cd") * 32) for day in range(30)]
    told = [day for day in range(30) if any(remark.kind == "step" for remark in remarks_on(runs[day], runs[:day]))]
    assert len(told) == 1
    assert 23 <= told[0] <= 25
    (series,) = series_of(runs)
    assert series.level is not None
    assert series.level.kind == "step"
    assert series.level.run == "run-020"
    assert series.level.text.startswith("step at run run-020: ")
    assert series.level.text.endswith("%), with another artifact")
    assert series.level in series.warnings


def test_a_drift_begins_somewhere() -> None:
    (series,) = series_of([run(day, 8_000_000 + day * 40_000) for day in range(40)])
    assert series.level is not None
    assert series.level.kind == "drift"
    assert series.level.text.startswith("drift since run run-000: ")


def test_remarks_are_given_to_their_runs() -> None:
    runs = [run(1), run(2, 9_000_000)]
    first, second = with_remarks(runs, series_of(runs))
    assert first == runs[0]
    assert [remark.kind for remark in second.remarks] == ["unstable"]


def test_a_push_looks_back() -> None:
    before = [run(1), run(2)]
    (found,) = looked_back([run(3, 9_000_000)], Store(*before, run(3, 9_000_000)))
    assert [remark.kind for remark in found.remarks] == ["unstable"]
    assert looked_back([failed_run()], Store(*before)) == (failed_run(),)


@given(order=st.permutations(range(12)), builds=st.lists(st.sampled_from("AB"), min_size=12, max_size=12))
def test_every_measured_run_is_in_one_series_whatever_the_order(order: list[int], builds: list[str]) -> None:
    runs = [run(day, build=builds[day]) for day in order]
    found = series_of(runs)
    assert sorted(one for series in found for one in series.runs) == sorted(one.id for one in runs)
    assert all(list(series.runs) == sorted(series.runs) for series in found)
    assert len(found) == len(set(builds))
