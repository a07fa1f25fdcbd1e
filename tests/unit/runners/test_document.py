"""What a runner can leave behind, good and bad."""

from __future__ import annotations

import copy
import signal
import time
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedeploy.domain.measurement import WarmUp
from edgedeploy.errors import RunnerError
from edgedeploy.runners.document import SCHEMA, LanguageDocument, RunnerDocument, parse_document

GOOD: dict[str, Any] = {
    "schema": SCHEMA,
    "runner": {"name": "executorch-native", "version": "0.1.0", "engine": "executorch", "engine_version": "1.5.1"},
    "model": {"sha256": "a9" * 32, "size_bytes": 24744},
    "threads": 2,
    "cpus": [4, 5],
    "clock": {"name": "CLOCK_MONOTONIC", "resolution_ns": 1},
    "load_ns": 847931,
    "first_inference_ns": 71293,
    "warmup_ns": [10660, 6182],
    "latency_ns": [5801, 5640, 5740],
    "rss_before_load_bytes": 5292032,
    "peak_rss_bytes": 6238208,
    "cases": 3,
    "outputs": [{"dtype": "float32", "shape": [1, 10], "file": "output_0.bin"}],
}


def parse(stdout: bytes | str, exit_code: int = 0, stderr: bytes | str = b"") -> RunnerDocument:
    as_bytes = [text.encode() if isinstance(text, str) else text for text in (stdout, stderr)]
    return parse_document(as_bytes[0], exit_code=exit_code, stderr=as_bytes[1], where="desk-pi", kind=RunnerDocument)


def refused(stdout: bytes | str, exit_code: int = 0, stderr: bytes | str = b"") -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        parse(stdout, exit_code, stderr)
    error = caught.value
    assert error.where == "desk-pi"
    assert error.exit_code == 6
    assert error.next_step, "the user is told what to do"
    assert len(str(error)) < 3000, "however much was printed, little is shown"
    assert str(error).isprintable() or "\n" in str(error)
    return error


def encoded(changes: dict[str, Any] | None = None, without: str | None = None) -> bytes:
    document = copy.deepcopy(GOOD) | (changes or {})
    if without is not None:
        del document[without]
    return msgspec.json.encode(document)


class TestGoodDocuments:
    def test_every_member_arrives(self) -> None:
        document = parse(encoded())
        assert document.latency_ns == (5801, 5640, 5740)
        assert document.cpus == (4, 5)
        assert document.runner.engine_version == "1.5.1"
        assert document.outputs[0].shape == (1, 10)

    def test_samples_are_those_of_the_document(self) -> None:
        samples = parse(encoded()).samples
        assert samples.latency_ns == (5801, 5640, 5740)
        assert samples.warmup_ns == (10660, 6182)
        assert (samples.load_ns, samples.first_inference_ns) == (847931, 71293)
        assert (samples.peak_rss_bytes, samples.rss_before_load_bytes) == (6238208, 5292032)

    def test_noise_on_stderr_does_not_matter(self) -> None:
        assert parse(encoded(), stderr=b"\xff" * 1_000_000).threads == 2

    def test_white_space_around_it_is_allowed(self) -> None:
        assert parse(b"\n" + encoded() + b"\r\n").cases == 3

    def test_members_that_a_later_runner_adds_are_left_aside(self) -> None:
        assert parse(encoded({"energy_uj": 12})).threads == 2

    def test_no_iterations_and_scalar_outputs(self) -> None:
        outputs = [{"dtype": "int64", "shape": [], "file": "output_0.bin"}]
        document = parse(encoded({"latency_ns": [], "warmup_ns": [], "outputs": outputs}))
        assert document.latency_ns == ()
        assert document.outputs[0].shape == ()


class TestFactsOfTheProcess:
    FACTS: ClassVar[dict[str, int]] = {"pss_bytes": 5_000_000, "cpu_ns": 17_000, "involuntary_switches": 2}

    def test_they_arrive(self) -> None:
        samples = parse(encoded(self.FACTS)).samples
        assert {name: getattr(samples, name) for name in self.FACTS} == self.FACTS

    def test_what_the_device_does_not_say_is_none(self) -> None:
        samples = parse(encoded()).samples
        assert [getattr(samples, name) for name in self.FACTS] == [None, None, None]

    @pytest.mark.parametrize("name", [*FACTS, "cached_bytes_before_load"])
    def test_none_is_negative(self, name: str) -> None:
        assert "breaks the protocol" in refused(encoded({name: -1})).what

    def test_how_cold_a_load_was(self) -> None:
        cold = parse(encoded({"cached_bytes_before_load": 6186})).cold_load
        assert (cold.load_ns, cold.cached) == (847931, 0.25)
        assert parse(encoded()).cold_load.cached is None


class TestWarmUp:
    def test_a_process_became_steady(self) -> None:
        document = parse(encoded({"warmup_iterations": 40, "steady": {"since": 8, "known": 32}}))
        assert document.samples.warm_up == WarmUp(iterations=40, steady_since=8)

    def test_a_process_never_became_steady(self) -> None:
        document = parse(encoded({"warmup_iterations": 40, "steady": None}))
        assert document.samples.warm_up == WarmUp(iterations=40, steady_since=None)

    def test_nobody_watched(self) -> None:
        assert parse(encoded()).samples.warm_up is None

    @pytest.mark.parametrize(
        "steady", [{"since": -1, "known": 3}, {"since": 3, "known": 3}, {"since": 0}, {"known": 1}, [0, 3], True], ids=str
    )
    def test_what_cannot_be_is_refused(self, steady: object) -> None:
        assert "breaks the protocol" in refused(encoded({"warmup_iterations": 40, "steady": steady})).what


PROFILED: dict[str, Any] = {
    "warmup_ns": [],
    "latency_ns": [],
    "profiled_ns": [205100, 204900],
    "operators": [
        {"name": "mul.out", "delegate": None, "sequence": 0, "call": 1, "ns": [90120, 0]},
        {"name": "DELEGATE_CALL", "delegate": "XnnpackBackend", "sequence": 0, "call": 2, "ns": [92310, 92070]},
        {"name": "Add (ND)", "delegate": "XnnpackBackend", "sequence": 0, "call": 2, "step": 0, "ns": [76000, 75000]},
    ],
}


class TestProfiles:
    def test_operators_arrive(self) -> None:
        document = parse(encoded(PROFILED))
        assert document.profiled_ns == (205100, 204900)
        assert [operator.delegate for operator in document.operators] == [None, "XnnpackBackend", "XnnpackBackend"]
        assert [operator.step for operator in document.operators] == [None, None, 0]
        assert document.operators[0].ns == (90120, 0)

    def test_a_measurement_has_none(self) -> None:
        assert parse(encoded()).operators == ()

    @pytest.mark.parametrize(
        "change",
        [
            {"ns": [1]},
            {"ns": [1, 2, 3]},
            {"ns": [1, -2]},
            {"ns": [1.5, 2]},
            {"name": 7},
            {"name": "n" * 1001},
            {"delegate": 1},
            {"call": -1},
            {"step": -1},
            {"sequence": None},
        ],
        ids=str,
    )
    def test_malformed_operators_are_refused(self, change: dict[str, Any]) -> None:
        operators = [PROFILED["operators"][0] | change]
        assert "breaks the protocol" in refused(encoded(PROFILED | {"operators": operators})).what

    def test_operators_need_their_place(self) -> None:
        for member in ("name", "delegate", "sequence", "call", "ns"):
            operator = {key: value for key, value in PROFILED["operators"][0].items() if key != member}
            assert member in refused(encoded(PROFILED | {"operators": [operator]})).what

    def test_more_invocations_than_a_runner_takes_are_refused(self) -> None:
        assert "breaks the protocol" in refused(encoded({"profiled_ns": [1] * 101})).what


class TestFailuresTheRunnerReports:
    @pytest.mark.parametrize("stage", ["usage", "read", "load", "input", "execute", "output"])
    def test_stage_and_message_are_shown(self, stage: str) -> None:
        failure = {"schema": SCHEMA, "error": {"stage": stage, "message": "input 1 is int32[1,5]"}}
        error = refused(msgspec.json.encode(failure), exit_code=64 if stage == "usage" else 1)
        assert f"'{stage}'" in error.what
        assert "input 1 is int32[1,5]" in error.seen

    def test_every_stage_has_advice_of_its_own(self) -> None:
        def advice(stage: str) -> str:
            return refused(msgspec.json.encode({"schema": SCHEMA, "error": {"stage": stage, "message": "m"}}), 1).next_step

        assert len({advice(stage) for stage in ("usage", "read", "load", "input", "execute", "output")}) == 6

    @pytest.mark.parametrize("error", [{}, "bad", {"stage": "lunch", "message": "m"}, {"stage": "load"}, 7])
    def test_a_malformed_report_is_told_apart(self, error: object) -> None:
        assert "breaks the protocol" in refused(msgspec.json.encode({"schema": SCHEMA, "error": error}), 1).what

    def test_terminal_codes_in_a_message_are_not_passed_on(self) -> None:
        failure = {"schema": SCHEMA, "error": {"stage": "load", "message": "\x1b[2J\x07\u202eevil"}}
        assert not {"\x1b", "\x07", "\u202e"} & set(str(refused(msgspec.json.encode(failure), 1)))


class TestDeath:
    @pytest.mark.parametrize("as_shell", [True, False])
    @pytest.mark.parametrize(
        ("number", "word"),
        [
            (signal.SIGILL, "instruction"),
            (signal.SIGKILL, "memory"),
            (signal.SIGSEGV, "crash"),
            (signal.SIGABRT, "gave up"),
        ],
    )
    def test_the_signal_is_named_and_explained(self, number: signal.Signals, word: str, *, as_shell: bool) -> None:
        error = refused(b"", 128 + number if as_shell else -number, b"last words")
        assert number.name in error.what
        assert word in error.next_step
        assert "last words" in error.seen

    def test_half_a_document_and_a_signal_is_a_signal(self) -> None:
        assert "SIGSEGV" in refused(encoded()[:100], 139).what

    def test_an_unknown_signal_is_numbered(self) -> None:
        assert "signal 99" in refused(b"", -99).what

    def test_code_255_is_not_a_signal(self) -> None:
        assert "code 255" in refused(b"", 255).what


class TestSilence:
    def test_success_without_a_document(self) -> None:
        assert "without printing" in refused(b"").what
        assert "without printing" in refused(b" \n\t").what

    def test_wrong_abi(self) -> None:
        error = refused(b"", 126, "sh: 1: /data/executorch_runner: Exec format error")
        assert "126" in error.what
        assert "another processor" in error.next_step

    def test_android_wrong_abi(self) -> None:
        error = refused(b"", 126, '"/data/local/tmp/x": not executable: 64-bit ELF file')
        assert "32-bit" in error.next_step

    def test_not_executable_suggests_noexec_too(self) -> None:
        assert "noexec" in refused(b"", 126, "Permission denied").next_step

    def test_missing_loader(self) -> None:
        error = refused(b"", 127, "/bin/sh: /home/pi/executorch_runner: not found")
        assert "127" in error.what
        assert "loader" in error.next_step

    def test_missing_library(self) -> None:
        said = "litert_runner: error while loading shared libraries: libstdc++.so.6: cannot open shared object file"
        assert "libstdc++6" in refused(b"", 127, said).next_step

    def test_old_glibc(self) -> None:
        said = "./executorch_runner: /lib/libc.so.6: version `GLIBC_2.34' not found (required by ./executorch_runner)"
        assert "Debian 12" in refused(b"", 1, said).next_step

    def test_missing_python_package(self) -> None:
        assert "Python" in refused(b"", 1, "ModuleNotFoundError: No module named 'numpy'").next_step


class TestGarbage:
    @pytest.mark.parametrize("cut", [1, 10, 200, -1, -20])
    def test_half_a_document(self, cut: int) -> None:
        assert "cut off" in refused(encoded()[:cut]).what

    @pytest.mark.parametrize(
        "stdout", [b"hello", b"\x00\x01\x02", b"\xff\xfe{", b"Segmentation fault\n", b"[1, 2, 3]", b"null", b"7"]
    )
    def test_something_else(self, stdout: bytes) -> None:
        assert "its document" in refused(stdout).what

    def test_two_documents(self) -> None:
        refused(encoded() + encoded())

    def test_noise_before_the_document(self) -> None:
        refused(b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n" + encoded())

    @pytest.mark.parametrize("unit", [b"\xff", b"A", b"\x1b[31m", "é€📱".encode(), b"{", b"[", b'{"a":'])
    def test_megabytes_are_quoted_in_part_and_fast(self, unit: bytes) -> None:
        began_s = time.monotonic()
        refused(unit * (8_000_000 // len(unit)), 1, b"\x00" * 8_000_000)
        assert time.monotonic() - began_s < 2

    def test_deep_nesting_is_no_crash(self) -> None:
        refused(b'{"schema": "edgedeploy.runner/1", "outputs": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")

    @pytest.mark.parametrize("schema", ["edgedeploy.runner/2", "", None, "x" * 5000])
    def test_another_schema(self, schema: str | None) -> None:
        assert "schema" in refused(encoded({"schema": schema})).what

    def test_no_schema(self) -> None:
        assert "schema" in refused(encoded(without="schema")).what

    def test_a_good_document_and_a_bad_code_is_not_trusted(self) -> None:
        assert "code 3" in refused(encoded(), 3).what


class TestBrokenProtocol:
    @pytest.mark.parametrize("member", sorted(set(GOOD) - {"schema"}))
    def test_no_member_may_be_missing(self, member: str) -> None:
        error = refused(encoded(without=member))
        assert "breaks the protocol" in error.what
        assert member in error.what

    @pytest.mark.parametrize(
        "changes",
        [
            {"latency_ns": [5801, -1]},
            {"latency_ns": [5801.5]},
            {"latency_ns": ["5801"]},
            {"latency_ns": [None]},
            {"latency_ns": [True]},
            {"latency_ns": 5801},
            {"warmup_ns": [-5]},
            {"load_ns": -1},
            {"load_ns": 1e300},
            {"first_inference_ns": None},
            {"peak_rss_bytes": -4096},
            {"threads": -1},
            {"cpus": [-1]},
            {"cases": 0},
            {"model": {"sha256": "A9" * 32, "size_bytes": 1}},
            {"model": {"sha256": "a9", "size_bytes": 1}},
            {"outputs": [{"dtype": "float8", "shape": [1], "file": "output_0.bin"}]},
            {"outputs": [{"dtype": "float32", "shape": [-1], "file": "output_0.bin"}]},
            {"outputs": [{"dtype": "float32", "shape": [1], "file": "../../etc/passwd"}]},
            {"outputs": [{"dtype": "float32", "shape": [1], "file": "output_0.bin\n"}]},
        ],
        ids=str,
    )
    def test_values_that_cannot_be(self, changes: dict[str, Any]) -> None:
        assert "breaks the protocol" in refused(encoded(changes)).what


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


class TestAnything:
    @given(stdout=st.binary(max_size=400), stderr=st.binary(max_size=400), exit_code=st.integers(-130, 300))
    def test_bytes_never_pass_and_never_break_the_parser(self, stdout: bytes, stderr: bytes, exit_code: int) -> None:
        refused(stdout, exit_code, stderr)

    @given(member=st.sampled_from(sorted(GOOD)), value=json_values, exit_code=st.sampled_from([0, 1]))
    def test_any_value_in_any_member(self, member: str, value: object, exit_code: int) -> None:
        try:
            document = parse(encoded({member: value}), exit_code)
        except RunnerError:
            return
        assert exit_code == 0
        assert msgspec.to_builtins(document)[member] is not None

    @given(cut=st.integers(0, len(encoded()) - 1))
    def test_no_beginning_of_a_document_passes(self, cut: int) -> None:
        refused(encoded()[:cut])

    @given(latency_ns=st.lists(st.integers(0, 2**62), max_size=50), warmup_ns=st.lists(st.integers(0, 2**62), max_size=9))
    def test_samples_are_kept_exactly(self, latency_ns: list[int], warmup_ns: list[int]) -> None:
        document = parse(encoded({"latency_ns": latency_ns, "warmup_ns": warmup_ns}))
        assert list(document.latency_ns) == latency_ns
        assert list(document.warmup_ns) == warmup_ns


class TestLanguageModels:
    GENERATED: ClassVar[dict[str, Any]] = {
        "prompt_tokens": 5,
        "prefill_ns": 900,
        "ttft_ns": 950,
        "decode_ns": [70, 80],
        "tokens": [7, 0, 9],
    }
    LEFT_OUT = ("first_inference_ns", "warmup_ns", "latency_ns", "cases", "outputs")

    def read(self, **changes: Any) -> LanguageDocument:
        content = {name: value for name, value in GOOD.items() if name not in self.LEFT_OUT}
        content |= {"generation": [self.GENERATED], "score": {"tokens": 3, "nll": 4.5}} | changes
        stdout = msgspec.json.encode(content)
        return parse_document(stdout, exit_code=0, stderr=b"", where="desk-pi", kind=LanguageDocument)

    def test_a_token_is_a_sample(self) -> None:
        samples = self.read().samples
        assert samples.first_inference_ns == 950
        assert samples.latency_ns == (70, 80)
        assert samples.generation is not None
        assert samples.generation.tokens == (7, 0, 9)
        assert samples.generation.prefill_tokens_per_s == pytest.approx(5e9 / 900)
        assert samples.generation.decode_tokens_per_s == pytest.approx(2e9 / 150)

    def test_there_need_be_no_text(self) -> None:
        assert self.read(score=None).score is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"generation": [GENERATED | {"decode_ns": [70]}]},
            {"generation": [GENERATED | {"tokens": []}]},
            {"generation": [GENERATED | {"tokens": [7, -1, 9]}]},
            {"generation": [GENERATED | {"prompt_tokens": 0}]},
            {"generation": [GENERATED | {"ttft_ns": -1}]},
            {"generation": {}},
            {"score": {"tokens": 0, "nll": 1.0}},
            {"score": {"tokens": 1, "nll": -1.0}},
            {"score": {"tokens": 1, "nll": None}},
        ],
    )
    def test_what_cannot_be_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(RunnerError, match="breaks the protocol"):
            self.read(**changes)

    def test_an_ordinary_document_is_no_answer(self) -> None:
        with pytest.raises(RunnerError, match="generation"):
            parse_document(encoded(), exit_code=0, stderr=b"", where="desk-pi", kind=LanguageDocument)
