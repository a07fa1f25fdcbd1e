"""Output of other tools is read, and whatever else is given is told with file, line, what is there and what to do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedeploy.domain.imported import TOOLS, Imported, Tool
from edgedeploy.errors import UsageError
from edgedeploy.results.imports import Belongs, read_file

BELONGS = Belongs(project="shop", model="net", target="pixel8")

BENCHMARK_MODEL = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [4]
INFO: Graph: [/data/local/tmp/net.tflite]
INFO: #threads used for CPU inference: [4]
INFO: Loaded model /data/local/tmp/net.tflite
INFO: The input model file size (MB): 3.51
INFO: Initialized session in 2.5ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=61 first=9000 curr=8100 min=8000 max=9000 avg=8200.5 std=150

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=123 first=8050 curr=8120 min=7990 max=8900 avg=8101.25 std=90 p5=8000 median=8090 p95=8300

INFO: Inference timings in us: Init: 2500, First inference: 9000, Warmup (avg): 8200.5, Inference (avg): 8101.25
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual one.
INFO: Memory footprint delta from the start of the tool (MB): init=4.5 overall=7.25
INFO: Overall peak memory footprint (MB) via periodic monitoring: 16.5
"""
OBSERVER = (
    'PyTorchObserver {"prompt_tokens":14,"generated_tokens":50,"model_load_start_ms":1000,"model_load_end_ms":3250,'
    '"inference_start_ms":3250,"inference_end_ms":4400,"prompt_eval_end_ms":3400,"first_token_ms":3410,'
    '"aggregate_sampling_time_ms":19,"SCALING_FACTOR_UNITS_PER_SECOND":1000}'
)
TEST = {
    "build_commit": "abc1234",
    "build_number": 5000,
    "cpu_info": "Cortex-A76",
    "model_filename": "models/chat.gguf",
    "model_type": "llama 1B Q4_0",
    "n_threads": 4,
    "no_kv_offload": False,
    "n_prompt": 512,
    "n_gen": 0,
    "n_depth": 0,
    "test_time": "2025-04-24T11:58:50Z",
    "avg_ns": 2_000_000_000,
    "stddev_ns": 1_000_000,
    "avg_ts": 256.0,
    "stddev_ts": 0.5,
    "samples_ns": [1_999_000_000, 2_001_000_000],
    "samples_ts": [256.1, 255.9],
}
GENERATED = TEST | {"n_prompt": 0, "n_gen": 128, "n_depth": 512, "avg_ts": 32.0}
CSV = """\
build_commit,n_threads,n_prompt,n_gen,n_depth,test_time,avg_ns,stddev_ns,avg_ts,stddev_ts
"abc1234","4","512","0","0","2025-04-24T11:58:50Z","2000000000","1000000","256.000000","0.500000"
"abc1234","4","0","128","512","2025-04-24T11:58:55Z","4000000000","1000000","32.000000","0.500000"
"""
MARKDOWN = """\
| model                          |       size |     params | backend    | threads |            test |                  t/s |
| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: |
| llama 1B Q4_0                  | 729.75 MiB |     1.24 B | CPU        |       4 |           pp512 |        256.00 ± 0.50 |
| llama 1B Q4_0                  | 729.75 MiB |     1.24 B | CPU        |       4 |    tg128 @ d512 |         32.00 ± 0.10 |
| llama 1B Q4_0                  | 729.75 MiB |     1.24 B | CPU        |       4 |     pp512+tg128 |        100.00 ± 1.00 |

build: abc1234 (5000)
"""


def written(tmp_path: Path, content: str | bytes, name: str = "found.txt") -> Path:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def read(tmp_path: Path, content: str | bytes, tool: Tool | None = None) -> tuple[Imported, ...]:
    return read_file(written(tmp_path, content), tool, BELONGS)


def refused(tmp_path: Path, content: str | bytes, tool: Tool | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content, tool)
    error = caught.value
    assert error.where.startswith(str(tmp_path / "found.txt"))
    assert error.next_step
    assert len(error.seen) < 200
    return error


def line_of(error: UsageError) -> int:
    return int(error.where.rpartition(":")[2])


def test_benchmark_model_tells_times_statistics_and_memory(tmp_path: Path) -> None:
    (found,) = read(tmp_path, BENCHMARK_MODEL)
    assert (found.tool, found.model, found.target, found.measured.line) == ("benchmark_model", "net", "pixel8", 15)
    assert found.file.endswith("found.txt")
    assert len(found.sha256) == 64
    figures = found.measured.figures
    assert figures.iteration_mean_ns == 8_101_250
    assert (figures.iterations, figures.iteration_p50_ns, figures.iteration_p95_ns) == (123, 8_090_000, 8_300_000)
    assert (figures.iteration_min_ns, figures.iteration_max_ns, figures.iteration_std_ns) == (7_990_000, 8_900_000, 90_000)
    assert (figures.load_ns, figures.first_inference_ns, figures.warmup_mean_ns) == (2_500_000, 9_000_000, 8_200_500)
    assert (figures.memory_grown_bytes, figures.peak_memory_bytes) == (7.25 * 2**20, 16.5 * 2**20)
    assert found.measured.facts == {"Num threads": "4", "Graph": "/data/local/tmp/net.tflite"}
    assert found.created_at == found.imported_at


def test_what_an_old_benchmark_model_does_not_tell_is_absent(tmp_path: Path) -> None:
    old = "Inference timings in us: Init: 2500, First inference: 9000, Warmup (avg): 8200.5, Inference (avg): 8101.25\n"
    (found,) = read(tmp_path, old)
    figures = found.measured.figures
    assert (figures.iterations, figures.iteration_p50_ns, figures.peak_memory_bytes) == (None, None, None)
    assert "iterations" not in json.loads(json.dumps(_document(found)))["measured"]["figures"]


def _document(found: Imported) -> object:
    import msgspec

    return msgspec.to_builtins(found)


def test_iterations_that_are_all_the_same_have_no_percentiles(tmp_path: Path) -> None:
    text = "count=9 curr=70(all same)\nInference timings in us: Init: 1, First inference: 70, Warmup (avg): 70, Inference (avg): 70\n"
    (found,) = read(tmp_path, text)
    figures = found.measured.figures
    assert (figures.iterations, figures.iteration_min_ns, figures.iteration_max_ns) == (9, 70_000, 70_000)
    assert (figures.iteration_p50_ns, figures.iteration_std_ns) == (None, None)


def test_statistics_of_a_warm_up_are_not_taken_for_those_of_the_result(tmp_path: Path) -> None:
    lines = [line for line in BENCHMARK_MODEL.splitlines() if "count=123" not in line]
    (found,) = read(tmp_path, "\n".join(lines))
    assert found.measured.figures.iterations is None


def test_a_logcat_of_two_models(tmp_path: Path) -> None:
    text = "".join(f"07-14 13:14:56.520 22838 22838 I tflite  : {line}\r\n" for line in BENCHMARK_MODEL.splitlines())
    first, second = read(tmp_path, text + text.replace("net.tflite", "other.tflite").replace("16.5", "20"))
    assert first.measured.figures.peak_memory_bytes == 16.5 * 2**20
    assert second.measured.figures.peak_memory_bytes == 20 * 2**20
    assert second.measured.facts["Graph"] == "/data/local/tmp/other.tflite"
    assert first.id != second.id


def test_executorch_tells_tokens_and_moments(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f"An answer.\nI 00:00:04 executorch:{OBSERVER}\nI 00:00:04 more\n")
    figures = found.measured.figures
    assert (found.tool, found.measured.line) == ("executorch", 2)
    assert (figures.load_ns, figures.ttft_ns) == (2_250_000_000, 160_000_000)
    assert figures.prefill_tokens_per_s == pytest.approx(14 / 0.15)
    assert figures.decode_tokens_per_s == 50.0
    assert (figures.prompt_tokens, figures.generated_tokens) == (14, 50)


def test_a_model_that_was_loaded_elsewhere_has_no_load_time(tmp_path: Path) -> None:
    text = OBSERVER.replace(":1000,", ":0,", 1).replace('"model_load_end_ms":3250', '"model_load_end_ms":0')
    (found,) = read(tmp_path, text)
    assert found.measured.figures.load_ns is None
    assert found.measured.figures.ttft_ns is not None


def test_a_generation_of_no_time_has_no_rate(tmp_path: Path) -> None:
    (found,) = read(tmp_path, OBSERVER.replace("4400", "3400"))
    assert found.measured.figures.decode_tokens_per_s is None


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([TEST, GENERATED], indent=2),
        "\n".join(json.dumps(test) for test in (TEST, GENERATED)) + "\n",
        CSV,
        CSV.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + CSV.encode(),
        json.dumps([TEST, GENERATED]).encode("utf-16"),
        MARKDOWN,
    ],
    ids=["json", "jsonl", "csv", "crlf", "bom", "utf-16", "markdown"],
)
def test_every_form_of_llama_bench(tmp_path: Path, content: str | bytes) -> None:
    prompt, generated, *_ = read(tmp_path, content)
    assert prompt.tool == "llama-bench"
    assert (prompt.measured.figures.prompt_tokens, prompt.measured.figures.prefill_tokens_per_s) == (512, 256.0)
    assert (prompt.measured.figures.generated_tokens, prompt.measured.figures.decode_tokens_per_s) == (None, None)
    figures = generated.measured.figures
    assert (figures.generated_tokens, figures.decode_tokens_per_s, figures.depth_tokens) == (128, 32.0, 512)
    assert (figures.prompt_tokens, figures.prefill_tokens_per_s, figures.tokens_per_s) == (None, None, None)


def test_llama_bench_in_json_keeps_repetitions_facts_time_and_lines(tmp_path: Path) -> None:
    prompt, generated = read(tmp_path, json.dumps([TEST, GENERATED], indent=2))
    assert prompt.measured.figures.repetitions_ns == (1_999_000_000, 2_001_000_000)
    assert prompt.measured.figures.repetition_mean_ns == 2e9
    assert prompt.created_at == prompt.measured.measured_at == "2025-04-24T11:58:50+00:00"
    assert prompt.measured.facts["model_type"] == "llama 1B Q4_0"
    assert prompt.measured.facts["n_threads"] == "4"
    assert (prompt.measured.line, generated.measured.line) == (2, 27)


def test_a_test_of_both_has_a_rate_of_both(tmp_path: Path) -> None:
    *_, both = read(tmp_path, MARKDOWN)
    figures = both.measured.figures
    assert (figures.tokens_per_s, figures.prefill_tokens_per_s, figures.decode_tokens_per_s) == (100.0, None, None)
    assert both.measured.facts["backend"] == "CPU"


def test_the_same_file_has_the_same_ids_and_another_model_others(tmp_path: Path) -> None:
    file = written(tmp_path, OBSERVER)
    (first,) = read_file(file, None, BELONGS)
    (again,) = read_file(file, "executorch", BELONGS)
    (other,) = read_file(file, None, Belongs(project="shop", model="other", target="pixel8"))
    assert first.id == again.id != other.id


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        ("", "no tool whose output we know", 1),
        ("hello\n", "no tool whose output we know", 1),
        (bytes(range(256)), "no tool whose output we know", 1),
        (OBSERVER[:-40], "cannot be read", 1),
        (f"\n\n{OBSERVER.replace('14', '-14', 1)}", "cannot be read", 3),
        (OBSERVER.replace("4400", "NaN"), "cannot be read", 1),
        (OBSERVER.replace("4400", "3300"), "inference_end_ms does not come after prompt_eval_end_ms", 1),
        (OBSERVER.replace("3410", "3000"), "first_token_ms does not come after inference_start_ms", 1),
        (OBSERVER.replace("4400", str(2**63 - 1)), "does not come after", 1),
        (OBSERVER.replace('_SECOND":1000', '_SECOND":0'), "cannot be read", 1),
        ("PyTorchObserver \n", "cannot be read", 1),
        (BENCHMARK_MODEL.replace("(avg): 8101.25", "(avg): nan"), "Inference (avg) is no number", 15),
        (BENCHMARK_MODEL.replace("Init: 2500", "Init: -2500"), "Init is negative", 15),
        (BENCHMARK_MODEL.replace("median=8090", "median=much"), "median is no number", 13),
        (BENCHMARK_MODEL.replace("monitoring: 16.5", "monitoring: inf"), "the peak of memory is no number", 18),
        (BENCHMARK_MODEL.partition(", Warmup (avg)")[0], "cut off", 15),
        (json.dumps([TEST, GENERATED], indent=2)[:-300], "this is no JSON", 35),
        (json.dumps([TEST, GENERATED | {"avg_ts": -1}], indent=2), "no result of llama-bench", 27),
        (json.dumps([TEST | {"avg_ns": 0}]), "no result of llama-bench", 1),
        (json.dumps([TEST | {"avg_ts": float("nan")}]), "this is no JSON", 1),
        (json.dumps([TEST | {"n_prompt": 0}]), "both 0", 1),
        (json.dumps([TEST | {"test_time": "yesterday"}]), "test_time is no time", 1),
        (json.dumps([TEST | {"test_time": "0001-01-01T00:00:00+05:00"}]), "test_time is no time", 1),
        (json.dumps([TEST, 3]), "no result of llama-bench", 1),
        (json.dumps(TEST)[:-5], "no result of llama-bench", 1),
        (CSV.rstrip()[:-22], "cut off", 3),
        (CSV.rstrip()[:-24], "this is no CSV", 3),
        (CSV.replace("32.000000", "nan"), "avg_ts is no number", 3),
        (CSV.replace('"2000000000"', '"-2"'), "avg_ns is no whole number", 2),
        (CSV.replace('"2000000000"', '""'), "no result of llama-bench", 2),
        (CSV.splitlines()[0], "ended before its first result", 1),
        (MARKDOWN.replace("256.00 ± 0.50", "nan ± nan"), "t/s is no number", 3),
        (MARKDOWN.replace("256.00 ± 0.50", "0.00 ± 0.00"), "nothing was measured", 3),
        (MARKDOWN.replace("pp512 |", "speed |"), "no test of llama-bench", 3),
        (MARKDOWN.partition(" 32.00")[0], "cut off", 4),
        ("INSERT INTO llama_bench (n_prompt, n_gen, avg_ts) VALUES ('512', '0', '1');", "this form", 1),
        (f"{OBSERVER}\n{BENCHMARK_MODEL}", "output of benchmark_model and executorch", 1),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, content: str | bytes, what: str, line: int) -> None:
    error = refused(tmp_path, content)
    assert what in error.what
    assert line_of(error) == line


def test_the_wrong_tool_is_told_with_the_right_one(tmp_path: Path) -> None:
    error = refused(tmp_path, OBSERVER, "llama-bench")
    assert "nothing in it was written by llama-bench" in error.what
    assert "--format executorch" in error.next_step
    assert "--format" not in refused(tmp_path, "hello", "llama-bench").next_step


def test_a_file_with_two_tools_is_read_as_the_one_that_is_named(tmp_path: Path) -> None:
    (found,) = read(tmp_path, f"{OBSERVER}\n{BENCHMARK_MODEL}", "executorch")
    assert found.tool == "executorch"


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="cannot be read") as caught:
            read_file(place, None, BELONGS)
        assert caught.value.where == str(place)


def test_what_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "found.txt"
    with file.open("wb") as out:
        out.truncate(200_000_000)
    with pytest.raises(UsageError, match="too large"):
        read_file(file, None, BELONGS)


@pytest.mark.parametrize(
    "piece",
    [
        "x",
        "|",
        "| a ",
        "count=1 ",
        "PyTorchObserver ",
        "Graph: [",
        "Inference timings in us: Init: 1, ",
        "Memory footprint delta from the start of the tool (MB): init=1 ",
        "[",
        '{"a":',
        "n_prompt n_gen avg_ts,",
        "\n",
    ],
)
def test_megabytes_on_one_line_take_no_time(tmp_path: Path, piece: str) -> None:
    began = time.process_time()
    refused(tmp_path, piece * (3_000_000 // len(piece)))
    assert time.process_time() - began < 5


PIECES = st.sampled_from(
    [
        *BENCHMARK_MODEL.splitlines(),
        OBSERVER,
        *MARKDOWN.splitlines(),
        *CSV.splitlines(),
        json.dumps(TEST),
        "[",
        "]",
        ",",
        "",
        "-1",
        "nan",
    ]
)
CUT = (
    st.lists(PIECES, max_size=8)
    .flatmap(lambda lines: st.tuples(st.just("\n".join(lines)), st.integers(0, 400), st.text(max_size=6), st.integers(0, 400)))
    .map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + parts[3] :])
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CUT | st.text(max_size=200) | st.binary(max_size=200), tool=st.none() | st.sampled_from(TOOLS))
def test_whatever_is_given_is_read_or_told(tmp_path: Path, content: str | bytes, tool: Tool | None) -> None:
    import msgspec

    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    try:
        found = read(tmp_path, data, tool)
    except UsageError as error:
        assert error.next_step
        assert error.where
        return
    document = msgspec.json.encode(found)
    assert b"null" not in document.replace(b'"null"', b"").partition(b'"facts"')[0]
    assert msgspec.json.decode(document, type=tuple[Imported, ...]) == found


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(2, 10**6),
    times=st.lists(st.floats(0.001, 1e9, allow_nan=False), min_size=4, max_size=4),
    spread=st.lists(st.integers(0, 10**9), min_size=6, max_size=6),
)
def test_any_figures_of_benchmark_model_come_back(tmp_path: Path, count: int, times: list[float], spread: list[int]) -> None:
    init, first, warm, mean = (f"{value:g}" for value in times)
    low, high, std, p5, p50, p95 = spread
    text = (
        f"count={count} first={first} curr=5 min={low} max={high} avg={mean} std={std} p5={p5} median={p50} p95={p95}\n"
        f"Inference timings in us: Init: {init}, First inference: {first}, Warmup (avg): {warm}, Inference (avg): {mean}\n"
    )
    (found,) = read(tmp_path, text)
    figures = found.measured.figures
    assert figures.iterations == count
    assert figures.iteration_mean_ns == float(mean) * 1e3
    told = (figures.iteration_min_ns, figures.iteration_max_ns, figures.iteration_std_ns, figures.iteration_p5_ns)
    assert told == tuple(value * 1e3 for value in (low, high, std, p5))
    assert (figures.iteration_p50_ns, figures.iteration_p95_ns) == (p50 * 1e3, p95 * 1e3)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tests=st.lists(
        st.fixed_dictionaries(
            {
                "n_prompt": st.integers(1, 10**6),
                "n_gen": st.integers(0, 10**6),
                "avg_ns": st.integers(1, 10**15),
                "avg_ts": st.floats(1e-3, 1e9),
                "samples_ns": st.lists(st.integers(1, 10**15), max_size=5),
            },
            optional={"cpu_info": st.text(max_size=9), "n_depth": st.integers(0, 10**6), "unknown": st.none() | st.booleans()},
        ),
        min_size=1,
        max_size=4,
    ),
    indent=st.none() | st.integers(0, 3),
)
def test_any_tests_of_llama_bench_come_back(tmp_path: Path, tests: list[dict], indent: int | None) -> None:
    text = json.dumps(tests, indent=indent)
    found = read(tmp_path, text)
    assert [one.measured.figures.repetitions_ns for one in found] == [tuple(test["samples_ns"]) for test in tests]
    assert [one.measured.figures.prompt_tokens for one in found] == [test["n_prompt"] for test in tests]
    for one, test in zip(found, tests, strict=True):
        rate = one.measured.figures.tokens_per_s if test["n_gen"] else one.measured.figures.prefill_tokens_per_s
        assert rate == test["avg_ts"]
        assert text.splitlines()[one.measured.line - 1].lstrip(" [").startswith("{")
