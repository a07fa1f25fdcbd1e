"""Run documents for the tests of history and reports: one made by hand, and hypothesis' own."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st
from msgspec.structs import replace

from edgedeploy.domain.comparison import Block, SideFigures, Turn
from edgedeploy.domain.contest import CompareReport, Contender, Contest
from edgedeploy.domain.measurement import Agreement, Core, DeviceFacts, Environment, Generation, ProcessSamples, WarmUp
from edgedeploy.domain.mode import MODES
from edgedeploy.domain.mode_figures import BurstFigures, ConcurrentFigures, Ratio, SustainedFigures
from edgedeploy.domain.result import (
    ArtifactSummary,
    Failure,
    Latency,
    PushReport,
    PushStats,
    RunResult,
    Seconds,
    Sizes,
    Verification,
)
from edgedeploy.domain.target import Lane
from edgedeploy.domain.verdict import Verdict

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,12}", fullmatch=True)
COUNTS = st.integers(min_value=0, max_value=2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(min_value=dt.datetime(1971, 1, 1), timezones=st.just(dt.UTC)).map(dt.datetime.isoformat)  # noqa: DTZ001
LANES = st.builds(Lane, exporter=NAMES, backend=NAMES, precision=NAMES)
SAMPLES = st.lists(COUNTS, max_size=8).map(tuple)
PROCESSES = st.builds(
    ProcessSamples,
    load_ns=COUNTS,
    first_inference_ns=COUNTS,
    warmup_ns=SAMPLES,
    latency_ns=SAMPLES,
    peak_rss_bytes=COUNTS,
    rss_before_load_bytes=COUNTS,
    pss_bytes=st.none() | COUNTS,
    cpu_ns=st.none() | COUNTS,
    involuntary_switches=st.none() | COUNTS,
    warm_up=st.none() | st.builds(WarmUp, iterations=COUNTS, steady_since=st.none() | COUNTS),
)
AGREEMENTS = st.builds(
    Agreement,
    max_abs_error=st.none() | FINITE,
    cosine=st.none() | FINITE,
    sqnr_db=st.none() | FINITE,
    exact=st.booleans(),
    finite=st.booleans(),
)
RATIOS = st.builds(Ratio, ratio=FINITE, ci_low=FINITE, ci_high=FINITE)
FACTS = st.builds(
    DeviceFacts,
    os=st.text(max_size=8),
    os_build=st.none() | st.text(max_size=8),
    cores=st.lists(st.builds(Core, index=COUNTS, current_hz=st.none() | COUNTS), max_size=3).map(tuple),
    temperatures_c=st.dictionaries(st.text(max_size=5), FINITE, max_size=3),
    properties=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    throttled=st.none() | st.booleans(),
)
ENVIRONMENTS = st.builds(
    Environment,
    runner=NAMES,
    engine=NAMES,
    engine_version=NAMES,
    threads=COUNTS,
    cpus=st.lists(COUNTS, max_size=4).map(tuple),
    clock=NAMES,
    clock_resolution_ns=COUNTS,
    host=st.text(max_size=8),
    before=FACTS,
    after=FACTS,
)

MODE_FIGURES = st.one_of(
    st.builds(BurstFigures, idle_s=FINITE, place_p50_ns=SAMPLES),
    st.builds(SustainedFigures, seconds=FINITE, slowdown=FINITE, slower_after_s=st.none() | FINITE, windows=st.just(())),
    st.builds(ConcurrentFigures, p50=RATIOS, p90=RATIOS, quiet_ns=st.lists(SAMPLES, max_size=2).map(tuple)),
)


@st.composite
def runs(draw: st.DrawFn) -> RunResult:
    """Any run; its latency samples are most often, but not always, those of its processes."""
    processes = draw(st.lists(PROCESSES, max_size=3).map(tuple))
    joined = tuple(sample for process in processes for sample in process.latency_ns)
    latencies = st.builds(Latency, samples=st.just(joined) | SAMPLES, p50=COUNTS, p90=COUNTS, p99=COUNTS)
    return RunResult(
        id=draw(st.uuids()).hex,
        created_at=draw(TIMES),
        project=draw(NAMES),
        model=draw(st.text(max_size=12)),
        recipe=draw(NAMES),
        target=draw(NAMES),
        device=draw(NAMES),
        lane=draw(LANES),
        mode=draw(st.sampled_from(MODES)),
        verdict=Verdict(
            status=draw(st.sampled_from(["pass", "fail", "inconclusive", "error", "unmeasured"])),
            reasons=draw(st.lists(st.text(max_size=20), max_size=2).map(tuple)),
        ),
        push=draw(st.none() | st.builds(PushStats, seconds=FINITE)),
        verify=draw(st.builds(Verification, host=st.none() | AGREEMENTS, device=st.none() | AGREEMENTS)),
        load_ns=draw(st.none() | COUNTS),
        load_cold_ns=draw(st.none() | COUNTS),
        load_cold_cached=draw(st.none() | st.floats(min_value=0, max_value=1)),
        latency_ns=draw(st.none() | latencies),
        peak_rss_bytes=draw(st.none() | COUNTS),
        device_sha256=draw(st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)),
        processes=processes,
        environment=draw(st.none() | ENVIRONMENTS),
        mode_figures=draw(st.none() | MODE_FIGURES),
        error=draw(st.none() | st.builds(Failure)),
    )


def measured_run(
    *,
    run_id: str = "a" * 32,
    created_at: str = "2026-03-01T12:00:00+00:00",
    model: str = "mobilenet",
    device: str = "desk-pixel",
    verdict: Verdict | None = None,
    processes: int = 3,
    iterations: int = 100,
    base_ns: int = 8_000_000,
) -> RunResult:
    """A whole measurement with everything in it, the same on every call."""
    series = tuple(
        ProcessSamples(
            load_ns=41_000_000 + 900_000 * process,
            first_inference_ns=base_ns * 2 + 70_000 * process,
            warmup_ns=tuple(base_ns + 900_000 // (step + 1) for step in range(10)),
            # A slow beat with a stray every 23 iterations: like a phone whose scheduler has other things to do.
            latency_ns=tuple(
                base_ns + 40_000 * process + (step * 7919 % 97) * 3_000 + (2_400_000 if step % 23 == 22 else 0)
                for step in range(iterations)
            ),
            peak_rss_bytes=62_000_000 + process * 300_000,
            rss_before_load_bytes=9_100_000,
        )
        for process in range(processes)
    )
    samples = tuple(sample for process in series for sample in process.latency_ns) or (base_ns,)
    ranked = sorted(samples)
    before = DeviceFacts(
        os="android",
        os_version="15",
        os_build="AP4A.250105.002",
        kernel="6.1.99-android14",
        model="Pixel 8",
        soc="Tensor G3",
        abi="arm64-v8a",
        cores=tuple(
            Core(index=i, current_hz=1_197_000_000 + i * 100_000_000, max_hz=2_914_000_000, governor="sched_pixel")
            for i in range(9)
        ),
        memory_total_bytes=7_800_000_000,
        memory_available_bytes=3_100_000_000,
        storage_free_bytes=71_000_000_000,
        temperatures_c={"battery": 29.5, "soc": 38.25},
        thermal_status="none",
        throttled=False,
        battery_percent=84,
        battery_charging=True,
        load_average_1m=1.31,
    )
    after = DeviceFacts(
        os="android",
        os_version="15",
        os_build="AP4A.250105.002",
        cores=tuple(Core(index=i, current_hz=2_914_000_000, max_hz=2_914_000_000) for i in range(9)),
        temperatures_c={"battery": 30.0, "soc": 47.5},
        thermal_status="light",
        battery_percent=84,
    )
    return RunResult(
        id=run_id,
        created_at=created_at,
        project="shop",
        model=model,
        recipe="int8",
        target="pixel8",
        device=device,
        lane=Lane(exporter="executorch", backend="xnnpack", precision="int8"),
        verdict=verdict or Verdict(status="pass"),
        artifact=ArtifactSummary(
            sha256="5f" * 32,
            size_bytes=3_712_640,
            format="pte",
            folder="/home/ada/.cache/edgedeploy/artifacts/5f5f",
            export_cached=False,
            peak_export_rss_bytes=509_000_000,
            parameters=3_504_872,
            inspection={"operators": "delegated: 100, portable: 2", "delegates": "XnnpackBackend x1"},
        ),
        sizes=Sizes(artifact_bytes=3_712_640, float_bytes=14_019_488, golden_bytes=1_204_224),
        seconds=Seconds(load=4.2, export=31.4),
        toolchain={"torch": "2.13.0", "executorch": "1.5.1", "torchao": "0.18.0"},
        push=PushStats(bytes_total=22_700_000, bytes_sent=3_712_640, seconds=0.82, release=7),
        verify=Verification(
            host=Agreement(max_abs_error=0.0123, cosine=0.99995, sqnr_db=38.41, exact=False),
            device=Agreement(max_abs_error=0.0124, cosine=0.99995, sqnr_db=38.4, exact=False),
        ),
        load_ns=41_900_000,
        load_cold_ns=187_000_000,
        load_cold_cached=0.0,
        latency_ns=Latency(
            samples=samples,
            p50=ranked[(len(ranked) - 1) // 2],
            p90=ranked[int(len(ranked) * 0.9) - 1],
            p99=ranked[int(len(ranked) * 0.99) - 1],
        ),
        peak_rss_bytes=62_600_000,
        device_sha256="5f" * 32,
        processes=series,
        environment=Environment(
            runner="executorch-native 0.1.0",
            engine="executorch",
            engine_version="1.5.1",
            threads=1,
            cpus=(8,),
            clock="CLOCK_MONOTONIC",
            clock_resolution_ns=1,
            host="ada-laptop",
            before=before,
            after=after,
        ),
    )


def failed_run(*, run_id: str = "b" * 32, created_at: str = "2026-03-01T12:05:00+00:00") -> RunResult:
    """A run that ended when the cable was pulled."""
    return RunResult(
        id=run_id,
        created_at=created_at,
        project="shop",
        model="mobilenet",
        recipe="fp32",
        target="pixel8",
        device="desk-pixel",
        lane=Lane(exporter="tflite", backend="xnnpack", precision="fp32"),
        verdict=Verdict(status="error", reasons=("the device went away while sending",)),
        verify=Verification(note="the device was lost before it ran"),
        error=Failure(
            kind="DeviceLostError",
            exit_code=5,
            retryable=True,
            what="the device went away",
            where="desk-pixel: incoming/5f5f.part",
            seen="adb: error: failed to read copy response",
            next_step="plug it in again and repeat the command; what was sent is kept",
        ),
    )


def report_of(*runs_of_it: RunResult) -> PushReport:
    """A push that made these runs."""
    return PushReport(edgedeploy="0.1.0", project="shop", target="pixel8", runs=runs_of_it)


def spoken_run(*, processes: int = 2, prompt_tokens: int = 12, token_ns: int = 20_000_000) -> RunResult:
    """A language model that answered a prompt with nine tokens in every process."""
    run = measured_run(model="chat", processes=processes, iterations=0)
    series = tuple(
        replace(
            process,
            latency_ns=(token_ns + index,) * 8,
            generation=Generation(
                prompt_tokens=prompt_tokens,
                prefill_ns=90_000_000 + index,
                ttft_ns=91_000_000 + index,
                decode_ns=(token_ns + index,) * 8,
                tokens=tuple(range(9)),
            ),
        )
        for index, process in enumerate(run.processes)
    )
    return replace(run, processes=series, latency_ns=Latency(samples=(token_ns,), p50=token_ns, p90=token_ns, p99=token_ns))


FIGURES = SideFigures(load_ns=1000, peak_rss_bytes=10)
BLOCK = Block(
    turns=(Turn(side="base", start_ns=0, latency_ns=(5, 6)), Turn(side="candidate", start_ns=11, latency_ns=(7,))),
    base=FIGURES,
    candidate=FIGURES,
)


def contest(model: str = "net", device: str = "desk") -> Contest:
    """A comparison of something with itself, of one block."""
    lane = Lane(exporter="tflite", backend="xnnpack", precision="fp32")
    side = Contender(origin="now", model=model, recipe="fp32", lane=lane, sha256="ab" * 32, size_bytes=9)
    return Contest(device=device, base=side, candidate=side, verdict="pass", measured=(BLOCK,))


def contests(*found: Contest) -> CompareReport:
    """What one call of compare did."""
    return CompareReport(edgedeploy="0", project="shop", target="pixel8", comparisons=found)
