"""Which of a target's runtimes is taken, and what is said about those passed over."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from unit.stages.planned import FP32, Heard, artifact, planned, runner, target

from edgedeploy import registry
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Note
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.target import Abi, Os
from edgedeploy.errors import MissingToolError, RunnerError
from edgedeploy.ports import Completed, Emit
from edgedeploy.stages.runner_choice import choose, portable_runner, python_facts_of, runtimes_for
from edgedeploy.transports.local import LocalTransport


class FakeRuntime:
    """A runtime that can be had or not, as told; counts how often it is built."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        formats: frozenset[str] = frozenset({"pte"}),
        abis: frozenset[Abi] = frozenset({"linux-x86_64"}),
        python: str = "",
        broken: Exception | None = None,
    ) -> None:
        self.name, self.formats, self.uses_python = name, formats, bool(python)
        self._folder, self._abis, self._wanted, self._broken = folder, abis, python, broken
        self.built = 0

    def runs_on(self, abi: Abi, os: Os) -> bool:
        return abi in self._abis

    def requirement(self, abi: Abi, python_facts: Mapping[str, str], artifact: Artifact) -> str:
        return "" if not self._wanted or self._wanted in python_facts else f"its Python has no {self._wanted}"

    def bundle(self, abi: Abi, *, cache_dir: Path, emit: Emit) -> RunnerBundle:
        self.built += 1
        if self._broken:
            raise self._broken
        emit(f"building {self.name}")
        return runner(self._folder / self.name, name=self.name)


class Bench:
    """Installs fake runtimes, and chooses among them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.installed: dict[str, FakeRuntime] = {}
        self.heard = Heard()
        self.facts: dict[str, str] = {}
        self.asked = 0
        monkeypatch.setattr(registry, "runtime", self.installed.__getitem__)

    def add(self, name: str, **how: object) -> FakeRuntime:
        self.installed[name] = FakeRuntime(self.folder, name, **how)  # type: ignore[arg-type]
        return self.installed[name]

    def python_facts(self) -> Mapping[str, str]:
        self.asked += 1
        return self.facts

    def choose(self, *names: str) -> str:
        made = choose(
            artifact(self.folder / "artifact", planned()),
            names,
            abi="linux-x86_64",
            os="linux",
            python_facts=self.python_facts,
            cache_dir=self.folder,
            emit=lambda _: None,
            sink=self.heard,
        )
        return made.name


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """No runtime yet."""
    return Bench(tmp_path, monkeypatch)


def test_the_first_that_can_be_had_is_taken_and_nothing_is_said(bench: Bench) -> None:
    bench.add("a")
    second = bench.add("b")
    assert bench.choose("a", "b") == "a"
    assert bench.choose("b", "a") == "b"
    assert second.built == 1
    assert bench.heard == []


def test_one_for_another_format_is_passed_over_in_silence(bench: Bench) -> None:
    bench.add("a", formats=frozenset({"tflite"}))
    bench.add("b")
    assert bench.choose("a", "b") == "b"
    assert bench.heard == []


def test_what_was_passed_over_is_told_with_each_reason_in_order(bench: Bench) -> None:
    bench.add("phone", abis=frozenset({"android-arm64"}))
    bench.add("agent", python="executorch")
    bench.add("native", broken=MissingToolError("no C++ compiler", next_step="apt install g++"))
    bench.add("last")
    assert bench.choose("phone", "agent", "native", "last") == "last"
    assert bench.heard == [
        Note(
            level="warning",
            text="running by last, because phone: not for linux-x86_64; agent: its Python has no executorch; "
            "native: no C++ compiler; apt install g++",
        )
    ]


def test_a_device_is_asked_for_its_python_only_when_a_runtime_needs_it(bench: Bench) -> None:
    bench.add("native")
    bench.add("agent", python="executorch")
    bench.choose("native", "agent")
    assert bench.asked == 0
    bench.facts = {"executorch": "1.5.1"}
    assert bench.choose("agent", "native") == "agent"
    assert bench.asked == 1


def test_when_none_is_left_every_reason_is_in_the_error(bench: Bench) -> None:
    bench.add("native", broken=MissingToolError("no C++ compiler"))
    bench.add("agent", python="executorch")
    with pytest.raises(MissingToolError, match=r"nothing can run \.pte on linux-x86_64") as caught:
        bench.choose("native", "agent")
    assert caught.value.seen == "native: no C++ compiler; agent: its Python has no executorch"
    assert caught.value.next_step
    with pytest.raises(MissingToolError) as caught:
        bench.choose()
    assert caught.value.seen == "the target lists no runtime"
    bench.add("other", formats=frozenset({"tflite"}))
    with pytest.raises(MissingToolError) as caught:
        bench.choose("other")
    assert caught.value.seen == "the target lists other"


def test_a_runtime_that_is_broken_and_not_merely_missing_is_not_passed_over(bench: Bench) -> None:
    bench.add("native", broken=RunnerError("does not compile"))
    bench.add("agent")
    with pytest.raises(RunnerError):
        bench.choose("native", "agent")


def test_a_runner_that_travels_needs_no_python_there(bench: Bench) -> None:
    bench.add("agent", python="executorch")
    bench.add("unbuildable", broken=MissingToolError("no compiler"))
    bench.add("phone", abis=frozenset({"android-arm64"}))
    bench.add("native")
    names = ["agent", "unbuildable", "phone", "native"]

    def portable(abi: Abi, *names: str) -> RunnerBundle | None:
        made = artifact(bench.folder / "artifact", planned())
        return portable_runner(made, names, abi=abi, os="linux", cache_dir=bench.folder, emit=lambda _: None)

    found = portable("linux-x86_64", *names)
    assert found is not None
    assert found.name == "native"
    assert portable("linux-aarch64", *names) is None
    assert portable("linux-x86_64", "agent", "unbuildable") is None


def test_a_plan_names_the_runtimes_of_the_lanes_format(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add("a")
    bench.add("b", formats=frozenset({"tflite"}))
    bench.add("c", formats=frozenset({"tflite", "pte"}))

    class Exporter:
        format = "pte"

    monkeypatch.setattr(registry, "exporter", lambda _name: Exporter())
    assert runtimes_for(FP32, target(runtimes=("c", "b", "a"))) == ("c", "a")


def test_the_facts_of_a_python_are_its_versions() -> None:
    connection = LocalTransport().connect(Device(name="here", transport="local"))
    facts = python_facts_of(connection, sys.executable)
    assert facts["python"] == "{}.{}.{}".format(*sys.version_info[:3])
    assert "numpy" in facts
    assert python_facts_of(connection, "/no/such/python") == {}
    assert python_facts_of(connection, "echo") == {}


def test_a_python_that_prints_something_else_has_no_facts() -> None:
    class Noisy:
        def run(self, argv: object, *, timeout_s: float, stdin: bytes = b"") -> Completed:
            return Completed(exit_code=0, stdout=b"Welcome!\n{}", stderr=b"")

    assert python_facts_of(Noisy(), "python3") == {}  # type: ignore[arg-type]
