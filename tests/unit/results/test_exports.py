"""What is exported has the names of the formats it is exported to, and no figure that was not measured."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from statistics import fmean, median
from typing import get_args

import pytest
from documents import failed_run, measured_run, runs, spoken_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgedeploy.cli import results as verb
from edgedeploy.domain.result import RunResult
from edgedeploy.domain.verdict import Verdict
from edgedeploy.results.exports import FORMATS, Format, export
from edgedeploy.results.imports import Belongs, read_file

# pytorch/test-infra, clickhouse_db_schema/benchmark.oss_ci_benchmark_v3/schema.sql; None: a Map(String, String)
STRING, NUMBER = {"type": "string"}, {"type": "number"}
MAP = {"type": "object", "additionalProperties": STRING}


def table(**columns: object) -> dict[str, object]:
    return {"type": "object", "additionalProperties": False, "properties": columns}


OSS_V3 = {
    "type": "array",
    "items": table(
        timestamp={"type": "integer", "minimum": 0},
        schema_version=STRING,
        name=STRING,
        repo=STRING,
        head_branch=STRING,
        head_sha=STRING,
        workflow_id={"type": "integer"},
        run_attempt={"type": "integer"},
        job_id={"type": "integer"},
        runners={
            "type": "array",
            "items": table(
                name=STRING,
                type=STRING,
                cpu_info=STRING,
                cpu_count={"type": "integer", "minimum": 1},
                mem_info=STRING,
                avail_mem_in_gb={"type": "integer", "minimum": 1},
                gpu_info=STRING,
                gpu_count={"type": "integer"},
                gpu_mem_info=STRING,
                avail_gpu_mem_in_gb={"type": "integer"},
                extra_info=MAP,
            ),
        },
        benchmark=table(name=STRING, mode=STRING, dtype=STRING, extra_info=MAP),
        model=table(name=STRING, type=STRING, backend=STRING, origins={"type": "array", "items": STRING}, extra_info=MAP),
        inputs={"type": "object", "additionalProperties": table(dtype=STRING, extra_info=MAP)},
        dependencies={
            "type": "object",
            "additionalProperties": table(repo=STRING, branch=STRING, sha=STRING, version=STRING, extra_info=MAP),
        },
        metric={
            **table(
                name=STRING,
                benchmark_values={"type": "array", "items": NUMBER, "minItems": 1},
                target_value=NUMBER,
                extra_info=MAP,
            ),
            "required": ["name", "benchmark_values"],
        },
    )
    | {"required": ["metric"]},
}
# tensorflow/tensorflow, tensorflow/lite/tools/benchmark/proto/benchmark_result.proto
BENCHMARK_RESULT = {
    "latency_metrics": {
        *("avg_ms", "min_ms", "max_ms", "stddev_ms", "median_ms", "p5_ms", "p95_ms", "init_ms", "first_inference_ms"),
        "average_warm_up_ms",
    },
    "memory_metrics": {"init_footprint_kb", "overall_footprint_kb", "peak_mem_mb"},
    "misc_metrics": {"model_size_mb", "num_runs", "num_warmup_runs", "model_throughput_in_mb_per_sec"},
}
# ggml-org/llama.cpp, tools/llama-bench/llama-bench.cpp, test::get_fields and json_printer
LLAMA_BENCH = {
    *("build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "model_size"),
    *("model_n_params", "n_batch", "n_ubatch", "n_threads", "cpu_mask", "cpu_strict", "poll", "type_k", "type_v"),
    *("n_gpu_layers", "n_cpu_moe", "split_mode", "main_gpu", "no_kv_offload", "flash_attn", "devices", "tensor_split"),
    *("tensor_buft_overrides", "load_mode", "embeddings", "no_op_offload", "no_host", "fit_target", "fit_min_ctx", "n_prompt"),
    *("n_gen", "n_depth", "test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts"),
}


def oss(*given_runs: RunResult) -> list[dict]:
    import jsonschema

    records = json.loads(export("oss-v3", given_runs).text)
    jsonschema.validate(records, OSS_V3)
    return records


def metrics(records: list[dict]) -> dict[str, list[float]]:
    return {record["metric"]["name"]: record["metric"]["benchmark_values"] for record in records}


def test_the_verb_offers_every_format() -> None:
    assert get_args(Format) == FORMATS == verb._FORMATS


def test_oss_v3_has_a_record_per_metric_and_a_value_per_process() -> None:
    run = measured_run()
    records = oss(run)
    found = metrics(records)
    assert set(found) == {
        *("avg_inference_latency(ms)", "p50_inference_latency(ms)", "p90_inference_latency(ms)", "p99_inference_latency(ms)"),
        *("model_load_time(ms)", "peak_inference_mem_usage(mb)"),
    }
    assert found["avg_inference_latency(ms)"] == [fmean(process.latency_ns) / 1e6 for process in run.processes]
    assert found["peak_inference_mem_usage(mb)"][0] == run.processes[0].peak_rss_bytes / 2**20
    first = records[0]
    assert first["benchmark"]["dtype"] == "int8"
    assert first["model"]["backend"] == "executorch-xnnpack"
    assert first["runners"][0]["type"] == "android 15"
    assert first["runners"][0]["cpu_count"] == 9
    assert first["dependencies"]["executorch"] == {"version": "1.5.1"}
    assert first["timestamp"] == 1772366400


def test_oss_v3_has_failures_as_the_benchmarks_of_executorch_have_them() -> None:
    (record,) = oss(failed_run())
    assert record["metric"] == {"name": "FAILURE_REPORT", "benchmark_values": [0]}
    assert record["benchmark"]["extra_info"]["job_conclusion"] == "FAILURE"
    assert record["benchmark"]["extra_info"]["failure_type"] == "DeviceLostError"
    assert record["runners"] == [{"name": "desk-pixel", "extra_info": {"target": "pixel8"}}]


def test_oss_v3_of_a_language_model_tells_tokens_per_second() -> None:
    found = metrics(oss(spoken_run()))
    assert found["token_per_sec"] == pytest.approx([50, 50], rel=1e-6)
    assert found["prefill_token_per_sec"][0] == pytest.approx(12 / 0.09)
    assert found["time_to_first_token(ms)"][0] == 91
    assert "avg_inference_latency(ms)" not in found


def test_a_missed_budget_is_measured_all_the_same() -> None:
    records = oss(measured_run(verdict=Verdict(status="fail", reasons=("too slow",))))
    assert "FAILURE_REPORT" not in metrics(records)
    assert records[0]["benchmark"]["extra_info"]["verdict"] == "fail"


def test_tflite_has_the_names_of_benchmark_result() -> None:
    run = measured_run()
    (found,) = json.loads(export("tflite", [run]).text)
    assert found.pop("name") == "mobilenet executorch-xnnpack-int8 desk-pixel"
    for group, names in BENCHMARK_RESULT.items():
        assert set(found[group]) <= names
    assert set(found) == set(BENCHMARK_RESULT)
    latency = found["latency_metrics"]
    samples = run.latency_ns.samples if run.latency_ns else ()
    assert latency["avg_ms"] == pytest.approx(fmean(samples) / 1e6)
    assert latency["min_ms"] <= latency["p5_ms"] <= latency["median_ms"] <= latency["p95_ms"] <= latency["max_ms"]
    assert latency["init_ms"] == median(process.load_ns for process in run.processes) / 1e6
    assert found["misc_metrics"] == {"model_size_mb": 3.71264, "num_runs": 300}
    assert set(found["memory_metrics"]) == {"peak_mem_mb"}


@pytest.mark.parametrize("kind", FORMATS)
def test_of_other_modes_only_our_own_table_knows(kind: Format) -> None:
    found = export(kind, [replace(measured_run(), mode="burst")])
    assert found.runs == (kind == "csv")


def test_tflite_has_no_place_for_failures_and_tokens() -> None:
    found = export("tflite", [failed_run(), measured_run(), spoken_run()])
    assert (found.runs, found.left_out) == (1, (failed_run().id, spoken_run().id))


def test_mlperf_says_that_it_is_none_and_has_the_lines_of_loadgen() -> None:
    run = measured_run()
    text = export("mlperf", [run]).text
    assert "not an MLPerf result" in text
    assert "Result is" not in text
    lines = dict(re.findall(r"^(.+?) *: (\S+)$", text, re.MULTILINE))
    ordered = sorted(sample for process in run.processes for sample in process.latency_ns)
    assert int(lines["Min latency (ns)"]) == ordered[0]
    assert int(lines["90.0th percentile latency (ns)"]) == ordered[270] == int(lines["90.00 percentile latency (ns)"])
    assert int(lines["99.90 percentile latency (ns)"]) == ordered[299]
    assert lines["Scenario"] == "SingleStream"


def test_mlperf_of_a_language_model_has_its_tokens() -> None:
    text = export("mlperf", [spoken_run()]).text
    assert "Min First Token latency (ns)                : 91000000\n" in text
    assert "Mean First Token latency (ns)               : 91000000\n" in text
    assert "Max Time per Output Token (ns)                : 20000001\n" in text
    assert "90.00 percentile latency (ns)   : 251000009\n" in text
    assert f"TPS w/o loadgen overhead        : {18e9 / 502000009:.2f}\n" in text


def test_csv_has_a_row_per_run_and_empty_cells() -> None:
    found = export("csv", [measured_run(), failed_run(), spoken_run()])
    measured, failed, _ = csv.DictReader(io.StringIO(found.text))
    assert measured["latency_p50_ns"] == str(measured_run().latency_ns.p50)  # type: ignore[union-attr]
    assert measured["cpus"] == "8"
    assert (failed["latency_p50_ns"], failed["threads"], failed["error"]) == ("", "", "DeviceLostError")
    assert found.left_out == ()


def test_llama_bench_has_a_prompt_and_a_generation_behind_it() -> None:
    prompt, generated = json.loads(export("llama-bench", [spoken_run()]).text)
    assert set(prompt) | set(generated) <= LLAMA_BENCH
    assert [(test["n_prompt"], test["n_gen"], test["n_depth"]) for test in (prompt, generated)] == [(12, 0, 0), (0, 8, 12)]
    assert prompt["samples_ns"] == [90_000_000, 90_000_001]
    assert generated["samples_ns"] == [160_000_000, 160_000_008]
    assert generated["avg_ts"] == pytest.approx(50, rel=1e-6)
    assert generated["stddev_ns"] == 5
    assert generated["test_time"] == "2026-03-01T12:00:00Z"
    assert export("llama-bench", [measured_run(), failed_run()]).runs == 0


def test_one_process_has_no_deviation() -> None:
    tests = json.loads(export("llama-bench", [spoken_run(processes=1)]).text)
    assert not any("stddev_ns" in test or "stddev_ts" in test for test in tests)


def test_our_llama_bench_is_read_by_our_import(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(export("llama-bench", [spoken_run()]).text)
    prompt, generated = read_file(file, None, Belongs(project="shop", model="chat", target="pixel8"))
    assert (prompt.tool, prompt.measured.measured_at) == ("llama-bench", "2026-03-01T12:00:00+00:00")
    assert prompt.measured.figures.repetitions_ns == (90_000_000, 90_000_001)
    assert prompt.measured.figures.prompt_tokens == 12
    assert prompt.measured.figures.prefill_tokens_per_s == pytest.approx(12 / 0.09, rel=1e-6)
    assert generated.measured.figures.decode_tokens_per_s == pytest.approx(50, rel=1e-6)
    assert (generated.measured.figures.generated_tokens, generated.measured.figures.depth_tokens) == (8, 12)
    assert generated.measured.facts["model_type"] == "chat executorch-xnnpack-int8"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=st.lists(runs(), max_size=3))
def test_any_run_can_be_exported(found: list[RunResult]) -> None:
    oss(*found)
    for kind in FORMATS:
        text = export(kind, found).text
        if kind not in {"csv", "mlperf"}:
            json.loads(text, parse_constant=pytest.fail)  # NaN and infinity, which are no JSON


def test_memory_that_a_system_does_not_tell_is_absent() -> None:
    run = measured_run()
    run = replace(run, peak_rss_bytes=0, processes=tuple(replace(process, peak_rss_bytes=0) for process in run.processes))
    assert "peak_inference_mem_usage(mb)" not in metrics(oss(run))
    assert json.loads(export("tflite", [run]).text)[0]["memory_metrics"] == {}
    (row,) = csv.DictReader(io.StringIO(export("csv", [run]).text))
    assert row["peak_rss_bytes"] == ""


def test_nothing_is_written_of_what_was_only_exported() -> None:
    bare = replace(failed_run(), error=None, verdict=Verdict(status="unmeasured"))
    for kind in FORMATS:
        assert export(kind, [bare]).runs == (1 if kind == "csv" else 0)
