"""Runners on this machine: built, started, and compared with PyTorch, with each other and with the protocol."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from integration.ndk import stand_in_ndk
from integration.runner_starts import CASES, LIMIT_S, QUICK, RUNNERS, Ran, build, format_of, input_arguments, place, run, start_of

from edgedeploy.domain.artifact import DelegateGraph, Operator
from edgedeploy.domain.measurement import WarmUp
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.errors import MissingToolError, RunnerError, RunnerKilledError, UsageError
from edgedeploy.probes.linux import LinuxProbe
from edgedeploy.profile import join
from edgedeploy.runners import build_tools, sdk
from edgedeploy.runners.agent import agent_runner
from edgedeploy.runners.document import RunnerDocument, parse_document
from edgedeploy.runners.native import native_runner
from edgedeploy.shipped import shipped
from edgedeploy.stages.facts import facts_of
from edgedeploy.stages.killed import explained
from edgedeploy.transports.local import LocalConnection

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(sys.platform != "linux", reason="native runners are built on Linux"),
]

# ------------------------------------------------------------------------------------------------ right answers


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", ["convolution", "two", "many"])
def test_outputs_are_pytorchs(run_model: Callable[..., Ran], models: Path, runner: str, name: str) -> None:
    ran = run_model(runner, name, "--iterations", "0")
    references = [np.load(path) for path in sorted(models.glob(f"{name}.output*.npy"))]
    assert ran.document.cases == CASES
    assert len(ran.document.outputs) == len(references)
    for index, reference in enumerate(references):
        np.testing.assert_allclose(ran.output(index), reference, rtol=1e-4, atol=1e-5)
    for output in ran.document.outputs:
        assert output.sha256 == hashlib.sha256((ran.output_dir / output.file).read_bytes()).hexdigest()


@pytest.mark.parametrize("runner", ["native-tflite", "agent-tflite"])
def test_names_do_not_change_the_order(run_model: Callable[..., Ran], models: Path, runner: str) -> None:
    ran = run_model(runner, "named", "--iterations", "0")
    for index in range(3):
        np.testing.assert_allclose(ran.output(index), np.load(models / f"named.output{index}.npy"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("runner", ["native-pte", "agent-pte"])
def test_channels_last_tensors_arrive_in_the_protocols_order(run_model: Callable[..., Ran], models: Path, runner: str) -> None:
    ran = run_model(runner, "last", "--iterations", "2")
    np.testing.assert_allclose(ran.output(0), np.load(models / "last.output0.npy"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("suffix", "name"), [("pte", "convolution"), ("tflite", "convolution"), ("tflite", "two")])
def test_native_and_agent_agree_bit_for_bit(run_model: Callable[..., Ran], suffix: str, name: str) -> None:
    native = run_model(f"native-{suffix}", name, "--iterations", "0", output="native")
    agent = run_model(f"agent-{suffix}", name, "--iterations", "0", output="agent")
    assert native.document.outputs == agent.document.outputs
    for output in native.document.outputs:
        assert (native.output_dir / output.file).read_bytes() == (agent.output_dir / output.file).read_bytes()


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("method", ["encode", "decode"])
def test_any_method_of_an_artifact_can_be_run(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str, method: str
) -> None:
    suffix = format_of(runner)
    arguments = ["--model", str(models / f"methods.{suffix}"), "--method", method, "--iterations", "2"]
    ran = run(starts[runner], [*arguments, *input_arguments(models, method, suffix, tmp_path)], tmp_path / "o")
    assert len(ran.document.latency_ns) == 2
    references = [np.load(path) for path in sorted(models.glob(f"{method}.output*.npy"))]
    assert len(ran.document.outputs) == len(references)
    for index, reference in enumerate(references):
        np.testing.assert_allclose(ran.output(index), reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_method_that_is_not_there(starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str) -> None:
    suffix = format_of(runner)
    arguments = ["--model", str(models / f"methods.{suffix}"), *input_arguments(models, "encode", suffix, tmp_path)]
    failure = run(starts[runner], [*arguments, "--method", "decod"], tmp_path / "o").failure
    assert failure["stage"] == "load"
    assert "'decod'" in failure["message"]
    assert {"encode", "decode"} <= set(failure["message"].replace(",", "").split())


@pytest.mark.parametrize("runner", ["native-pte", "native-tflite"])
def test_without_a_wish(starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str) -> None:
    """A .pte with several has to have one called forward; a .tflite is run by its first signature."""
    suffix = format_of(runner)
    arguments = ["--model", str(models / f"methods.{suffix}"), "--iterations", "0"]
    ran = run(starts[runner], [*arguments, *input_arguments(models, "encode", suffix, tmp_path)], tmp_path / "o")
    if suffix == "pte":
        assert "it has: decode, encode" in ran.failure["message"]
    else:
        assert ran.document.outputs[0].shape == (1, 5, 6)


# ------------------------------------------------------------------------------------------------ the document


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_document_tells_what_was_done(run_model: Callable[..., Ran], models: Path, runner: str) -> None:
    cpu = min(os.sched_getaffinity(0))
    ran = run_model(runner, "convolution", "--warmup", "3", "--iterations", "7", "--threads", "2", "--cpus", str(cpu))
    document = ran.document
    content = (models / f"convolution.{format_of(runner)}").read_bytes()
    assert document.model.sha256 == hashlib.sha256(content).hexdigest()
    assert document.model.size_bytes == len(content)
    assert (len(document.warmup_ns), len(document.latency_ns)) == (3, 7)
    assert document.threads == 2
    assert document.cpus == (cpu,)
    assert document.clock.name == "CLOCK_MONOTONIC"
    assert 0 < document.clock.resolution_ns < 1_000_000
    assert document.load_ns > 0
    assert document.first_inference_ns > 0
    assert all(0 < sample < 10**10 for sample in document.latency_ns)
    assert 1_000_000 < document.rss_before_load_bytes <= document.peak_rss_bytes < 4_000_000_000
    assert document.runner.version == "0.1.0"
    assert sdk._WHEELS[{"pte": "executorch", "tflite": "litert"}[format_of(runner)]].version in (document.runner.engine_version)
    assert sorted(path.name for path in ran.output_dir.iterdir()) == ["output_0.bin"]


@pytest.mark.parametrize("runner", QUICK)
def test_what_the_process_used_is_told(run_model: Callable[..., Ran], runner: str) -> None:
    document = run_model(runner, "convolution", "--iterations", "5", "--min-seconds", "0.1").document
    assert document.pss_bytes is not None
    assert 0 < document.pss_bytes <= document.peak_rss_bytes
    assert document.cpu_ns is not None
    assert 0 < document.cpu_ns < 10**9
    assert document.involuntary_switches is not None
    idle = run_model(runner, "convolution", "--iterations", "0").document
    assert (idle.cpu_ns, idle.involuntary_switches) == (None, None)


@pytest.mark.parametrize("runner", QUICK)
def test_a_cold_load_begins_without_the_file_in_the_page_cache(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str
) -> None:
    suffix = format_of(runner)
    inputs = input_arguments(models, "convolution", suffix, tmp_path)
    model = tmp_path / f"own.{suffix}"  # nobody else has it mapped
    content = (models / f"convolution.{suffix}").read_bytes()
    model.write_bytes(content)
    arguments = ["--model", str(model), *inputs, "--iterations", "1"]
    assert run(starts[runner], arguments, tmp_path / "warm").document.cold_load.cached is None
    cold = run(starts[runner], [*arguments, "--cold", "1"], tmp_path / "cold").document.cold_load
    assert cold.size_bytes == len(content)
    assert cold.cached_bytes == 0 or _file_system(tmp_path) == "tmpfs"
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        assert len(bytes(mapping)) == len(content)
        cached = run(starts[runner], [*arguments, "--cold", "1"], tmp_path / "mapped").document.cold_load.cached_bytes
    assert cached == len(content)


def _file_system(path: Path) -> str:
    return (
        subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, check=True, timeout=9).stdout.decode().strip()
    )


@pytest.mark.parametrize("runner", QUICK)
def test_threads_zero_is_the_engines_choice(run_model: Callable[..., Ran], runner: str) -> None:
    assert run_model(runner, "convolution", "--iterations", "1", "--threads", "0").document.threads >= 1


@pytest.mark.parametrize("runner", QUICK)
def test_the_timed_loop_ends_in_time_and_never_before_one_iteration(run_model: Callable[..., Ran], runner: str) -> None:
    timed = run_model(runner, "convolution", "--iterations", "10000000", "--max-seconds", "0.2").document
    assert 1 < len(timed.latency_ns) < 10_000_000
    assert sum(timed.latency_ns) < 10**9
    once = run_model(runner, "convolution", "--iterations", "5", "--max-seconds", "0.000000001").document
    assert len(once.latency_ns) == 1


@pytest.mark.parametrize("runner", QUICK)
def test_the_timed_loop_lasts_as_long_as_it_is_told_to(run_model: Callable[..., Ran], runner: str) -> None:
    options = ["--iterations", "2", "--min-seconds", "0.2", "--vary", "1"]
    lasted = run_model(runner, "convolution", *options).document
    assert len(lasted.latency_ns) > 100
    assert 10**7 < sum(lasted.latency_ns) < 2 * 10**9
    assert lasted.warm_up is None


@pytest.mark.parametrize("runner", QUICK)
def test_a_warm_up_lasts_until_the_process_is_steady_or_its_time_is_over(run_model: Callable[..., Ran], runner: str) -> None:
    document = run_model(runner, "convolution", "--iterations", "1", "--warmup", "3", "--warmup-seconds", "20").document
    assert document.warm_up is not None
    assert document.steady is not None
    assert document.steady.since < document.steady.known == document.warm_up.iterations
    assert len(document.warmup_ns) == min(10_000, document.warm_up.iterations)
    short = run_model(runner, "convolution", "--iterations", "1", "--warmup", "3", "--warmup-seconds", "0.05").document
    assert short.warm_up == WarmUp(iterations=short.warmup_iterations or 0, steady_since=None)
    assert (short.warmup_iterations or 0) >= 3


@pytest.mark.parametrize("runner", QUICK)
def test_nothing_but_the_document_goes_to_stdout(run_model: Callable[..., Ran], runner: str) -> None:
    stdout = run_model(runner, "convolution", "--iterations", "1").stdout
    assert stdout.count(b"\n") == 1
    assert stdout.endswith(b"}\n")


@pytest.mark.parametrize("runner", RUNNERS)
def test_version(starts: dict[str, list[str]], runner: str) -> None:
    done = subprocess.run([*starts[runner], "--version"], capture_output=True, timeout=LIMIT_S, check=True)
    document = json.loads(done.stdout)
    assert document["schema"] == "edgedeploy.runner/1"
    assert document["runner"]["version"] == "0.1.0"
    if runner.startswith("agent"):
        assert document["python"]["version"] == platform.python_version()
        assert document["packages"]["numpy"] == np.__version__
    else:
        assert document["runner"]["engine"] in {"executorch", "litert"}


# ------------------------------------------------------------------------------------------------ profiles


@pytest.mark.parametrize("runner", ["native-pte", "native-tflite"])
def test_a_profile_tells_the_time_of_every_operator(run_model: Callable[..., Ran], runner: str) -> None:
    document = run_model(runner, "wide", "--profile", "4", "--warmup", "1").document
    assert (document.warmup_ns, document.latency_ns) == ((), ())
    assert len(document.profiled_ns) == 4
    steps = {operator.name.partition(" (")[0]: operator for operator in document.operators if operator.step is not None}
    # The model is a convolution, a linear layer and a cumulative sum, which is no operator of XNNPACK.
    assert {"Convolution", "Fully Connected"} <= set(steps)
    assert {operator.delegate for operator in steps.values()} == {"XnnpackBackend" if runner == "native-pte" else "XNNPACK"}
    own = {operator.name.partition(".")[0].lower(): operator for operator in document.operators if operator.delegate is None}
    assert own["cumsum"].step is None
    timed = [steps["Convolution"], steps["Fully Connected"], own["cumsum"]]
    for invocation, whole_ns in enumerate(document.profiled_ns):
        assert all(operator.ns[invocation] > 0 for operator in timed)
        assert sum(operator.ns[invocation] for operator in (*steps.values(), *own.values())) <= whole_ns


def test_calls_of_delegates_contain_their_steps(run_model: Callable[..., Ran]) -> None:
    document = run_model("native-pte", "wide", "--profile", "3").document
    calls = {o.call: o for o in document.operators if o.delegate is not None and o.step is None}
    assert [call.name for call in calls.values()] == ["DELEGATE_CALL"] * 2
    for call, whole in calls.items():
        steps = [o for o in document.operators if o.call == call and o.step is not None]
        assert [o.step for o in steps] == list(range(len(steps)))
        assert all(sum(o.ns[i] for o in steps) <= whole.ns[i] for i in range(3))


def test_a_profile_of_another_signature(starts: dict[str, list[str]], models: Path, tmp_path: Path) -> None:
    arguments = ["--model", str(models / "methods.tflite"), "--method", "decode", "--profile", "2"]
    inputs = input_arguments(models, "decode", "tflite", tmp_path)
    operators = run(starts["native-tflite"], [*arguments, *inputs], tmp_path / "o").document.operators
    assert {operator.sequence for operator in operators} == {1}
    assert any(operator.name.startswith("Fully Connected") for operator in operators)


@pytest.mark.parametrize("runner", ["native-pte", "native-tflite"])
def test_outputs_are_those_of_a_measurement(run_model: Callable[..., Ran], runner: str) -> None:
    watched = run_model(runner, "two", "--profile", "1", output="watched")
    measured = run_model(runner, "two", "--iterations", "1", output="measured")
    assert measured.document.operators == ()
    for output in measured.document.outputs:
        assert (watched.output_dir / output.file).read_bytes() == (measured.output_dir / output.file).read_bytes()


@pytest.mark.parametrize("runner", ["native-pte", "native-tflite"])
def test_a_profile_ends_in_time_and_never_before_one_invocation(run_model: Callable[..., Ran], runner: str) -> None:
    document = run_model(runner, "wide", "--profile", "100", "--max-seconds", "0.000001").document
    assert len(document.profiled_ns) == 1
    assert all(len(operator.ns) == 1 for operator in document.operators)


class WhatRuns(msgspec.Struct, frozen=True, kw_only=True):
    """What tiny_models.py wrote beside an artifact."""

    operators: tuple[Operator, ...]
    delegate_graphs: tuple[DelegateGraph, ...]


@pytest.mark.parametrize(("name", "suffix"), [("mixed", "pte"), ("mixed8", "pte"), ("mixed", "tflite")])
def test_a_profile_is_joined_to_the_exporters_operators(
    run_model: Callable[..., Ran], models: Path, name: str, suffix: str
) -> None:
    document = run_model(f"native-{suffix}", name, "--profile", "3").document
    rows = msgspec.json.decode((models / f"{name}.{suffix}.json").read_bytes(), type=WhatRuns)
    profile = join(rows.operators, rows.delegate_graphs, document.operators)
    # Beside what the model asks for there are only conversions of layout and type, and the delegates' own calls.
    added = {time.ran[0].partition(" (")[0] for time in profile.times if time.operator is None}
    assert added <= {"Transpose", "Convert", "Static Reshape", "DELEGATE_CALL"}
    # Of the model's operators, only those have no time that are folded into the convolution before them.
    assert {row.operator for row in profile.untimed} <= {"aten._native_batch_norm_legit_no_training", "aten.hardtanh"}
    layers = {time.operator.module: time for time in profile.times if time.operator and time.operator.macs}
    if suffix == "pte":
        assert {"stem.0", "depthwise.0", "pointwise", "query", "key", "value", "head"} <= set(layers)
        assert all(time.operator and time.operator.source.startswith("tiny_models.py:") for time in layers.values())


def test_the_exporter_tells_what_runs_where(models: Path) -> None:
    rows = msgspec.json.decode((models / "mixed.pte.json").read_bytes(), type=WhatRuns)
    fallbacks = [row.operator for row in rows.operators if row.delegate is None]
    assert "aten.cumsum" in fallbacks
    assert "aten.native_layer_norm" in fallbacks
    assert not [row for row in rows.operators if row.operator in {"aten.convolution", "aten.linear"} and row.delegate is None]
    macs = {row.module: row.macs for row in rows.operators if row.macs and row.module}
    # Output elements × inputs to each: 16×16 pixels, 48 channels.
    assert macs["stem.0"] == 16 * 16 * 48 * 3 * 9
    assert macs["depthwise.0"] == 16 * 16 * 48 * 9
    assert macs["pointwise"] == macs["query"] == 16 * 16 * 48 * 48
    assert macs["head"] == 48 * 10
    for graph in rows.delegate_graphs:
        steps = [step for row in rows.operators if row.call == graph.call for step in row.steps]
        assert len(steps) == len(set(steps)), "a node of the delegate belongs to one operator"
        assert all(0 <= step < len(graph.nodes) for step in steps)


def test_the_agent_says_that_it_cannot_profile(run_model: Callable[..., Ran]) -> None:
    failure = run_model("agent-tflite", "convolution", "--profile", "3").failure
    assert failure["stage"] == "load"
    assert "native runner" in failure["message"]


# ------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("runner", QUICK)
def test_a_missing_model(starts: dict[str, list[str]], tmp_path: Path, runner: str) -> None:
    failure = run(starts[runner], ["--model", str(tmp_path / f"none.{format_of(runner)}")], tmp_path / "o").failure
    assert failure["stage"] == "read"
    assert "No such file" in failure["message"]


@pytest.mark.parametrize(
    ("runner", "damage"),
    [*((runner, damage) for runner in QUICK for damage in ("cut", "garbage", "empty")), ("agent-pte", "garbage")],
)
def test_a_damaged_model_fails_to_load(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str, damage: str
) -> None:
    whole = (models / f"convolution.{format_of(runner)}").read_bytes()
    garbage = np.random.default_rng(5).bytes(4096)
    model = tmp_path / f"damaged.{format_of(runner)}"
    model.write_bytes({"cut": whole[:-100], "garbage": garbage, "empty": b""}[damage])
    inputs = input_arguments(models, "convolution", format_of(runner), tmp_path)
    ran = run(starts[runner], ["--model", str(model), *inputs], tmp_path / "o")
    assert ran.exit_code == 1
    assert ran.failure["stage"] == "load"
    assert len(ran.failure["message"]) > 10


@pytest.mark.parametrize("suffix", ["pte", "tflite"])
def test_no_cut_of_a_model_is_run(starts: dict[str, list[str]], models: Path, tmp_path: Path, suffix: str) -> None:
    whole = (models / f"two.{suffix}").read_bytes()
    inputs = input_arguments(models, "two", suffix, tmp_path)
    model = tmp_path / f"cut.{suffix}"
    for size in range(0, len(whole), len(whole) // 23 + 1):
        model.write_bytes(whole[:size])
        assert run(starts[f"native-{suffix}"], ["--model", str(model), *inputs], tmp_path / "o").failure["stage"] == "load"


WRONG_INPUTS = {
    "shape": (["float32:1,3,8,9"], "declares float32[1,3,8,8]"),
    "rank": (["float32:1,3,64"], "declares float32[1,3,8,8]"),
    "flat": (["float32:192"], "declares float32[1,3,8,8]"),
    "dtype": (["int32:1,3,8,8"], "declares float32[1,3,8,8]"),
    "too few": ([], "the model takes 1"),
    "too many": (["float32:1,3,8,8", "float32:1"], "the model takes 1"),
}


@pytest.mark.parametrize(
    ("runner", "wrong"), [*((runner, wrong) for runner in QUICK for wrong in WRONG_INPUTS), ("agent-pte", "shape")]
)
def test_inputs_that_the_model_does_not_declare(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str, wrong: str
) -> None:
    inputs, says = WRONG_INPUTS[wrong]
    arguments = ["--model", str(models / f"convolution.{format_of(runner)}")]
    for index, declared in enumerate(inputs):
        dtype, _, dims = declared.partition(":")
        file = tmp_path / f"{index}.bin"
        np.zeros([int(dim) for dim in dims.split(",")], dtype).tofile(file)
        arguments += ["--input", f"{declared}:{file}"]
    failure = run(starts[runner], arguments, tmp_path / "o").failure
    assert failure["stage"] == "input"
    assert says in failure["message"]


@pytest.mark.parametrize("runner", ["native-pte", "agent-tflite"])
def test_inputs_whose_files_do_not_fit(starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str) -> None:
    suffix = format_of(runner)
    model = ["--model", str(models / f"two.{suffix}")]
    ids = "int64" if suffix == "pte" else "int32"
    values, numbers = tmp_path / "values.bin", tmp_path / "ids.bin"
    np.zeros((2, 5, 4), "float32").tofile(values)
    np.zeros((3, 5), ids).tofile(numbers)
    both = [f"float32:1,5,4:{values}", f"{ids}:1,5:{numbers}"]
    mismatch = run(starts[runner], [*model, "--input", both[0], "--input", both[1]], tmp_path / "o").failure
    assert mismatch["stage"] == "input"
    assert "3 cases" in mismatch["message"]
    values.write_bytes(b"\0" * 81)
    rest = run(starts[runner], [*model, "--input", both[0], "--input", both[1]], tmp_path / "o").failure
    assert rest["stage"] == "input"
    assert "multiple" in rest["message"]
    values.unlink()
    missing = run(starts[runner], [*model, "--input", both[0], "--input", both[1]], tmp_path / "o").failure
    assert missing["stage"] == "read"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_dynamic_batch_takes_any_size_up_to_its_bound(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str
) -> None:
    suffix = format_of(runner)
    images, answers = np.load(models / "batch.images.npy"), np.load(models / "batch.answers.npy")

    def with_batch(size: int) -> Ran:
        file = tmp_path / f"batch{size}.bin"
        np.resize(images, (size, 3, 8, 8)).tofile(file)
        arguments = ["--model", str(models / f"batch.{suffix}"), "--iterations", "2"]
        return run(starts[runner], [*arguments, "--input", f"float32:{size},3,8,8:{file}"], tmp_path / str(size))

    for size in (3,) if runner == "agent-pte" else (1, 3, 4):
        ran = with_batch(size)
        assert ran.document.outputs[0].shape == (size, 10)
        np.testing.assert_allclose(ran.output(0)[0], answers[:size], rtol=1e-4, atol=1e-5)
    if suffix == "pte":
        assert with_batch(5).failure["stage"] == "input"
    else:
        assert with_batch(5).document.outputs[0].shape == (5, 10), "a .tflite keeps no upper bound"


@pytest.mark.parametrize("runner", ["native-pte", "agent-pte"])
def test_a_dynamic_sequence_of_two_inputs(starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str) -> None:
    values, ids, answers = (np.load(models / f"sequence.{name}.npy") for name in ("values", "ids", "answers"))

    def with_length(length: int) -> Ran:
        files = [tmp_path / "values.bin", tmp_path / "ids.bin"]
        values[:, :length].tofile(files[0])
        ids[:, :length].tofile(files[1])
        arguments = ["--model", str(models / "sequence.pte"), "--iterations", "2"]
        inputs = ["--input", f"float32:1,{length},4:{files[0]}", "--input", f"int64:1,{length}:{files[1]}"]
        return run(starts[runner], [*arguments, *inputs], tmp_path / str(length))

    for length in (3,) if runner == "agent-pte" else (2, 3, 7):
        ran = with_length(length)
        assert [output.shape for output in ran.document.outputs] == [(1, length, 6), (1, length)]
        np.testing.assert_allclose(ran.output(0)[0], answers[:, :length], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runner", ["native-tflite", "agent-tflite"])
@pytest.mark.parametrize("size", ["1x2", "3x6", "4x9"])
def test_sizes_that_are_computed_in_the_file(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str, size: str
) -> None:
    given, file = np.load(models / f"attending.{size}.npy"), tmp_path / "values.bin"
    given.tofile(file)
    shape = ",".join(map(str, given.shape))
    arguments = ["--model", str(models / "attending.tflite"), "--iterations", "2", "--input", f"float32:{shape}:{file}"]
    ran = run(starts[runner], arguments, tmp_path / "o")
    for index in range(2):
        answer = np.load(models / f"attending.{size}.answer{index}.npy")
        np.testing.assert_allclose(ran.output(index)[0], answer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runner", QUICK)
def test_an_output_folder_that_is_not_there(starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str) -> None:
    suffix = format_of(runner)
    arguments = ["--model", str(models / f"convolution.{suffix}")]
    arguments += input_arguments(models, "convolution", suffix, tmp_path)
    argv = [*starts[runner], *arguments, "--output-dir", str(tmp_path / "none")]
    done = subprocess.run(argv, capture_output=True, timeout=LIMIT_S, check=False)
    assert Ran(done.stdout, done.stderr, done.returncode, tmp_path).failure["stage"] == "output"


@pytest.mark.parametrize("runner", QUICK)
@pytest.mark.parametrize(
    "wrong",
    [
        ["--iterations", "-1"],
        ["--iterations", "1_000"],
        ["--iterations", "x"],
        ["--speed", "9"],
        ["--model"],
        ["--input", "float33:1:f"],
        ["--input", "float32:1,:f"],
        ["--input", "float32:1"],
        ["--max-seconds", "nan"],
        ["--max-seconds", "0"],
        ["--warmup-seconds", "-1"],
        ["--min-seconds", "nan"],
        ["--vary", "2"],
        ["--cold", "yes"],
        ["--cpus", "a"],
        ["--cpus", "1023"],
        ["--threads", "5000"],
        ["--method", ""],
        ["--profile", "101"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_64(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, runner: str, wrong: list[str]
) -> None:
    model = ["--model", str(models / f"convolution.{format_of(runner)}")]
    argv = [*starts[runner], *model, "--output-dir", str(tmp_path), *wrong]
    done = subprocess.run(argv, capture_output=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 64
    assert Ran(done.stdout, done.stderr, done.returncode, tmp_path).failure["stage"] == "usage"


def test_a_killed_runner_is_recognised(starts: dict[str, list[str]], models: Path, tmp_path: Path) -> None:
    inputs = input_arguments(models, "convolution", "pte", tmp_path)
    arguments = ["--model", str(models / "convolution.pte"), *inputs, "--iterations", "10000000", "--max-seconds", "60"]
    argv = [*starts["native-pte"], *arguments, "--output-dir", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.send_signal(signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
    with pytest.raises(RunnerError, match="SIGKILL"):
        parse_document(stdout, exit_code=process.returncode, stderr=stderr, where="here", kind=RunnerDocument)


@pytest.fixture
def small_group(tmp_path: Path) -> Iterator[Path]:
    """A group of processes that may have 64 MB (cgroup v1 or v2), which is what a small device is like."""
    for root, limit in ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max")):
        group = root / f"edgedeploy-{tmp_path.name}-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(64 << 20), encoding="ascii")
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no memory cgroup can be made here: needs root")


def test_a_runner_that_the_kernel_ends_for_want_of_memory(
    starts: dict[str, list[str]], models: Path, tmp_path: Path, small_group: Path
) -> None:
    inputs = tmp_path / "cases.bin"
    inputs.write_bytes(bytes(192 * 4 * 250_000))
    arguments = ["--model", str(models / "convolution.tflite"), "--input", f"float32:1,3,8,8:{inputs}"]
    start = ["sh", "-c", f'echo $$ > {small_group}/cgroup.procs && exec "$@"', "sh", *starts["native-tflite"]]
    connection, probe = LocalConnection("here"), LinuxProbe()
    before = facts_of(connection, probe, "/")
    ran = run(start, arguments, tmp_path / "o")
    after = facts_of(connection, probe, "/")
    with pytest.raises(RunnerKilledError) as caught:
        _ = ran.document
    if before.oom_kills is None:
        pytest.skip("this kernel does not count")
    assert explained(caught.value, before, after, 9000).what == "memory ran out, and the kernel ended the runner"


# ------------------------------------------------------------------------------------------------ old Pythons


def test_the_agent_is_python_3_8() -> None:
    import ast

    (file,) = agent_runner().files
    source = Path(file.local).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("edgedeploy") for name in imported)


def test_the_agent_digests_a_folder_as_the_protocol_says(tmp_path: Path) -> None:
    package = tmp_path / "m.mlpackage"
    contents = {"Manifest.json": b"{}", "Data/weights.bin": b"\0" * 70_000, "Data/a b.txt": b""}
    for name, content in contents.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(content)
    lines = "".join(f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents))
    namespace: dict[str, object] = {"__name__": "edgedeploy_agent"}
    (file,) = agent_runner().files
    exec(compile(Path(file.local).read_text("utf-8"), file.local, "exec", dont_inherit=True), namespace)
    digest, size_bytes = namespace["model_sha256"](str(package))  # type: ignore[operator]
    assert digest == hashlib.sha256(lines.encode()).hexdigest()
    assert size_bytes == 70_002


# ------------------------------------------------------------------------------------------------ building


def test_a_second_call_builds_nothing(runner_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("litert", "host", runner_cache)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr("edgedeploy.runners.built._build", refuse)
    said: list[str] = []
    assert native_runner("litert", "host", cache_dir=runner_cache, emit=said.append) == first
    assert said == []


def test_a_damaged_build_is_made_again(runner_cache: Path) -> None:
    bundle = build("litert", "host", runner_cache)
    program = Path(next(file.local for file in bundle.files if file.entry.executable))
    program.write_bytes(b"cut")
    again = build("litert", "host", runner_cache)
    for file in again.files:
        assert hashlib.sha256(Path(file.local).read_bytes()).hexdigest() == file.entry.sha256


def test_two_at_once_build_once(tmp_path: Path, runner_cache: Path) -> None:
    build("litert", "host", runner_cache)  # skips where nothing can be built
    said: list[str] = []
    bundles: list[RunnerBundle] = []

    def one() -> None:
        bundles.append(native_runner("litert", "host", cache_dir=tmp_path, emit=said.append))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(bundles) == 3
    assert bundles[0] == bundles[1] == bundles[2]
    assert said == ["building litert-linux-x86_64 (once)"] or platform.machine() != "x86_64"
    assert [path for path in (tmp_path / "built").iterdir() if path.name.startswith(".")] == []


def test_without_a_compiler_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as caught:
        native_runner("litert", "host", cache_dir=tmp_path, emit=print)
    assert caught.value.next_step == "sudo apt install g++"
    if platform.machine() == "x86_64":
        with pytest.raises(MissingToolError) as caught:
            native_runner("litert", "linux-aarch64", cache_dir=tmp_path, emit=print)
        assert caught.value.next_step == "sudo apt install g++-aarch64-linux-gnu"


def fake_program(path: Path, says: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_an_old_cmake_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path / "cmake", "cmake version 3.18.4")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(build_tools, "_in_environment", lambda _name: None)
    with pytest.raises(MissingToolError) as caught:
        build_tools.find_cmake()
    assert "3.18.4" in caught.value.seen
    assert caught.value.next_step == "pip install 'edgedeploy[native]'"


def test_the_newest_cmake_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_program(tmp_path / "old" / "cmake", "cmake version 3.9.6")
    fake_program(tmp_path / "new" / "cmake", "cmake version 3.31.10")
    fake_program(tmp_path / "old" / "ninja", "1.11")
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:/bin")
    monkeypatch.setattr(build_tools, "_in_environment", lambda name: str(tmp_path / "new" / "cmake") if name == "cmake" else None)
    assert build_tools.find_cmake().program == str(tmp_path / "new" / "cmake")


def test_abis_without_a_native_runner_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="macos-arm64"):
        native_runner("litert", "macos-arm64", cache_dir=tmp_path, emit=print)


def test_the_runner_sources_are_found() -> None:
    assert (shipped("runner") / "CMakeLists.txt").is_file()


# ------------------------------------------------------------------------------------------------ other devices


def emulated(program: list[str], sysroot: bool) -> list[str]:
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("qemu-user is not installed: sudo apt install qemu-user-static")
    # env(1) of this machine starts the emulator, which starts the program with the same environment.
    at = next(index for index, word in enumerate(program) if word.endswith(("_runner", "ld-linux-aarch64.so.1")))
    return [*program[:at], qemu, *(["-L", "/usr/aarch64-linux-gnu"] if sysroot else []), *program[at:]]


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this machine is one")
@pytest.mark.parametrize(("abi", "sysroot"), [("linux-aarch64", True), ("android-arm64", False)])
def test_executorch_on_an_emulated_arm64(
    models: Path, tmp_path: Path, runner_cache: Path, monkeypatch: pytest.MonkeyPatch, abi: str, *, sysroot: bool
) -> None:
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("ANDROID_NDK_ROOT", raising=False)
    # The default processor of the emulator has features that phones and boards may lack.
    monkeypatch.setenv("QEMU_CPU", "cortex-a72")
    bundle = build("executorch", abi, runner_cache)
    start = emulated(start_of(bundle, place(bundle, tmp_path / "device")), sysroot)
    if sysroot:
        # LD_LIBRARY_PATH is for the emulated loader only: qemu hands it on by -E.
        library_path = next(word for word in start if word.startswith("LD_LIBRARY_PATH="))
        start = [word for word in start if word not in {"env", library_path}]
        start[1:1] = ["-E", library_path]
    for name in ("convolution", "two"):
        arguments = ["--model", str(models / f"{name}.pte"), *input_arguments(models, name, "pte", tmp_path)]
        ran = run(start, [*arguments, "--iterations", "2", "--threads", "2"], tmp_path / f"out-{name}")
        assert ran.document.threads == 2
        assert len(ran.document.latency_ns) == 2
        for path in sorted(models.glob(f"{name}.output*.npy")):
            index = int(path.name.split(".output")[1].split(".")[0])
            np.testing.assert_allclose(ran.output(index), np.load(path), rtol=1e-4, atol=1e-5)
    watched = run(start, [*arguments, "--profile", "2"], tmp_path / "watched").document
    assert [operator.name for operator in watched.operators if operator.delegate is None][-1] == "sum.IntList_out"
    assert {operator.delegate for operator in watched.operators} == {None, "XnnpackBackend"}


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this machine is one")
def test_litert_starts_on_an_emulated_arm64(tmp_path: Path, runner_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than that here: LiteRT crashes in qemu-user when it reads this machine's /sys; boards have their own."""
    monkeypatch.setenv("QEMU_CPU", "cortex-a72")
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("ANDROID_NDK_ROOT", raising=False)
    bundle = build("litert", "android-arm64", runner_cache)
    start = emulated(start_of(bundle, place(bundle, tmp_path / "device")), sysroot=False)
    done = subprocess.run([*start, "--version"], capture_output=True, timeout=LIMIT_S, check=True)
    assert json.loads(done.stdout)["runner"]["engine_version"] == "2.3.0"


def needed_libraries(path: Path) -> set[str]:
    said = subprocess.run(
        ["readelf", "-d", str(path)],
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout.decode()
    return {line.split("[")[1].rstrip("]") for line in said.splitlines() if "(NEEDED)" in line}


@pytest.mark.parametrize("engine", ["executorch", "litert"])
def test_the_glibc_bundle_brings_all_that_it_needs(engine: str, runner_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    monkeypatch.delenv("ANDROID_NDK_ROOT", raising=False)
    bundle = build(engine, "android-arm64", runner_cache)
    brought = {file.entry.path for file in bundle.files}
    for file in bundle.files:
        assert needed_libraries(Path(file.local)) <= brought, file.entry.path
    assert bundle.start[0] == "{dir}/ld-linux-aarch64.so.1"


def test_an_ndk_is_used_where_the_environment_names_one(
    tmp_path: Path, runner_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("litert", "linux-aarch64", runner_cache)  # brings the library, or skips
    engine = tmp_path / "litert"
    (engine / "lib").mkdir(parents=True)
    library = sdk.find_sdk("litert", "linux-aarch64", cache_dir=runner_cache, emit=print).libraries[0]
    shutil.copyfile(library, engine / "lib/libLiteRt.so")
    monkeypatch.setenv("ANDROID_NDK_HOME", str(stand_in_ndk(tmp_path / "ndk")))
    monkeypatch.setenv("EDGEDEPLOY_ANDROID_LITERT", str(engine))
    bundle = native_runner("litert", "android-arm64", cache_dir=tmp_path / "cache", emit=print)
    assert bundle.name == "litert-android-arm64-ndk"
    assert {file.entry.path for file in bundle.files} == {"litert_runner", "libLiteRt.so", "libc++_shared.so"}
    assert bundle.start[:2] == ("env", "LD_LIBRARY_PATH={dir}")


def test_a_folder_that_is_no_ndk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path))
    monkeypatch.setenv("EDGEDEPLOY_ANDROID_LITERT", str(tmp_path))
    with pytest.raises(MissingToolError, match="does not name an Android NDK"):
        native_runner("litert", "android-arm64", cache_dir=tmp_path, emit=print)
