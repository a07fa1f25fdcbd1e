"""Does the runner colour what it measures? Its loop's own cost, and its p50 against bare loops over the same engines.

The loop's cost is the processor time of a million iterations with an engine that does nothing. A bare loop reads the clock around
one call of the engine and does nothing else; it has the same threads, warm-up and iterations, and is built with the same options.
Both run as whole processes, in random order within a pair, one pair after the other.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import median_ratio, record

from edgedeploy.host import host_abi
from edgedeploy.report.units import duration
from edgedeploy.runners.build_tools import find_cmake, run_tool
from edgedeploy.runners.sdk import find_sdk

PAIRS = 30
# Of 30 pairs, the 10th and the 21st smallest ratio bound the median with 95 % confidence (binomial).
LOW, HIGH = 9, 20
HERE = Path(__file__).resolve().parent
WARMUPS = 100
SHAPES = {"slow": (1, 3, 192, 192), "fast": (1, 256)}
ITERATIONS = {"slow": 300, "fast": 50_000}
NULL_ITERATIONS = 1_000_000


@dataclass(frozen=True)
class Bench:
    """Programs, models, and the environment both sides run in."""

    build: Path
    models: Path
    environment: Mapping[str, str]

    def _run(self, *argv: str) -> bytes:
        return subprocess.run(argv, check=True, env=self.environment, capture_output=True, timeout=120).stdout

    def document(self, program: str, model: Path, shape: Sequence[int], iterations: int, warmups: int) -> dict[str, list[int]]:
        """What a runner says."""
        where = ["--model", str(model), "--output-dir", str(self.models), "--threads", "1"]
        given = ["--input", f"float32:{','.join(map(str, shape))}:{model.with_suffix('.bin')}"]
        how = ["--warmup", str(warmups), "--iterations", str(iterations)]
        document: dict[str, list[int]] = json.loads(self._run(str(self.build / program), *where, *given, *how))
        return document

    def runner_p50_ns(self, engine: str, network: str) -> float:
        """By the runner as it is shipped."""
        model = self.models / f"{network}.{'pte' if engine == 'executorch' else 'tflite'}"
        found = self.document(f"runner/{engine}_runner", model, SHAPES[network], ITERATIONS[network], WARMUPS)
        return statistics.median(found["latency_ns"])

    def bare_p50_ns(self, loop: str, network: str) -> float:
        """By a bare loop: ``litert``, ``forward`` or ``execute``."""
        counts = [str(WARMUPS), str(ITERATIONS[network])]
        stem = self.models / network
        if loop == "litert":
            said = self._run(str(self.build / "bare_litert"), f"{stem}.tflite", f"{stem}.bin", *counts)
        else:
            shape = map(str, SHAPES[network])
            said = self._run(str(self.build / "bare_executorch"), loop, f"{stem}.pte", f"{stem}.bin", *counts, *shape)
        return statistics.median(map(int, said.split()))

    def loop_cost_ns(self) -> tuple[float, float]:
        """Processor time per iteration of an engine that does nothing, and the p50 that it is said to have."""
        model = self.models / "null.bin"
        model.write_bytes(bytes(4))
        found: dict[str, object] = dict(self.document("null_runner", model, (1,), NULL_ITERATIONS, 0))
        cpu_ns, latency_ns = found["cpu_ns"], found["latency_ns"]
        if not isinstance(cpu_ns, int) or not isinstance(latency_ns, list):
            raise SystemExit("the runner does not tell its processor time")
        return cpu_ns / len(latency_ns), statistics.median(latency_ns)


def prepared(work: Path) -> Bench:
    """Build and export everything."""
    cmake, build, models = find_cmake(), work / "build", work / "models"
    models.mkdir()
    sdks = [find_sdk(engine, host_abi(), cache_dir=work, emit=print) for engine in ("executorch", "litert")]  # type: ignore[arg-type]
    options = [f"-DEXECUTORCH_SDK={sdks[0].root}", "-DBUILD_TESTING=OFF", "-DBUILD_DEVICE_HELPER=OFF"]
    run_tool([cmake.program, "-S", str(HERE), "-B", str(build), *cmake.generator, *options], what="the loops")
    run_tool([cmake.program, "--build", str(build)], what="the loops")
    run_tool([sys.executable, str(HERE / "models.py"), str(models)], what="the models")
    libraries = ":".join(str(sdk.libraries[0].parent) for sdk in sdks)
    return Bench(build, models, os.environ | {"LD_LIBRARY_PATH": libraries, "OMP_NUM_THREADS": "1"})


def main() -> None:
    """Every engine and network, pair by pair, in random order."""
    order = random.Random(1)  # noqa: S311
    cases = [(loop, network) for network in SHAPES for loop in ("litert", "forward", "execute")]
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared(Path(folder))
        costs = [bench.loop_cost_ns() for _ in range(10)]
        for number in range(PAIRS + 1):
            order.shuffle(cases)
            for loop, network in cases:
                engine = "litert" if loop == "litert" else "executorch"
                sides = [("runner", bench.runner_p50_ns, engine), ("bare", bench.bare_p50_ns, loop)]
                order.shuffle(sides)
                for side, p50_ns, how in sides:
                    found_s = p50_ns(how, network) / 1e9
                    if number:  # the first round warms the file cache
                        samples.setdefault(f"{loop} {network} {side}", []).append(found_s)
    report(samples, [cost for cost, _ in costs], [p50 for _, p50 in costs])


def report(samples: dict[str, list[float]], cost_ns: list[float], null_p50_ns: list[float]) -> None:
    """Put it on record."""
    figures = {"loop ns per iteration": statistics.median(cost_ns), "loop ns per iteration max": max(cost_ns)}
    figures["p50 ns of an engine that does nothing"] = statistics.median(null_p50_ns)
    parts = []
    for network in SHAPES:
        for loop, against in (("litert", "LiteRT"), ("forward", "ExecuTorch's Module::forward"), ("execute", "Method::execute")):
            ours, theirs = samples[f"{loop} {network} runner"], samples[f"{loop} {network} bare"]
            middle, low, high = median_ratio(ours, theirs)
            ranked = sorted(a / b for a, b in zip(ours, theirs, strict=True))
            name = f"{loop} {network}"
            figures |= {f"{name} ratio": middle, f"{name} ratio min": low, f"{name} ratio max": high}
            figures |= {f"{name} ratio low": ranked[LOW], f"{name} ratio high": ranked[HIGH]}
            words = f"{against} {middle:.4f}× ({ranked[LOW]:.4f} to {ranked[HIGH]:.4f})"
            parts.append(words if loop != "litert" else f"p50 at {duration(round(statistics.median(theirs) * 1e9))}: {words}")
    figures_in_words = "; ".join([f"{max(cost_ns):.0f} ns per iteration at most", *parts])
    record(
        "runner_bias",
        question="the native runners: what their loop costs per iteration, and p50 against a bare loop over the same engine",
        answer=f"{figures_in_words} (medians of {PAIRS} interleaved pairs, 95 % intervals)",
        figures=figures,
        samples={**samples, "loop": [ns / 1e9 for ns in cost_ns]},
        distributions=["torch", "executorch", "ai-edge-litert", "edgedeploy"],
    )


if __name__ == "__main__":
    main()
