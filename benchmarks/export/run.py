"""What do exports cost beyond the SDKs' own work, and how soon is one done that has nothing to do?

Three models of the zoo in five lanes each: ``edgedeploy export``, one worker at a time and with nothing cached but the
runners, against ``by_hand.py``, which makes the same files in one process; in turn. edgedeploy always runs what it made on
the golden inputs and compares; by hand is measured with and without that.

Then a project of 20 artifacts (five models in four lanes): exported again with nothing changed, and with one model's source
changed.

CPU seconds are those of all processes; their ratios bear a machine that has other work. Wall times want an idle one.
``python benchmarks/export/run.py 5`` takes five rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import ROOT, median_ratio, record

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
RERUNS = 10
HERE = Path(__file__).resolve().parent
EDGEDEPLOY = str(Path(sys.executable).parent / "edgedeploy")
MODELS = {
    "mobilenet-v2": "vision.py:mobilenet_v2",
    "tinybert": "text.py:tinybert",
    "keyword-spotting": "audio.py:keyword_spotting",
}
SMALL = """\
import torch
from torch import nn

from edgedeploy import ModelSource


def net():
    torch.manual_seed({number})
    layers = (nn.Conv2d(3, {width}, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear({width}, 10))
    inputs = [(torch.randn(1, 3, 16, 16),) for _ in range(4)]
    return ModelSource(module=nn.Sequential(*layers), example_inputs=inputs[0], golden_inputs=inputs[:2], calibration=inputs)
"""
DEPLOYED = """
[models.net-{number}]
source = "net_{number}.py:net"

[[deploy]]
model = "net-{number}"
targets = ["this-machine"]
recipes = ["fp32", "int8"]
exporters = ["executorch", "tflite"]
"""


@dataclass(frozen=True)
class Took:
    """Wall and CPU seconds of a command with all its processes, and what it printed."""

    wall_s: float
    cpu_s: float
    printed: bytes


def run(*command: str, cwd: Path) -> Took:
    """Run a command, which has to succeed."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(cwd / "cache"),
        "XDG_STATE_HOME": str(cwd / "cache/state"),
        "OMP_NUM_THREADS": "1",
        # What a script leaves to the SDK's own taste is what edgedeploy switches off; drawing it is no part of the work.
        "TQDM_DISABLE": "1",
    }
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile() as output,
        # In a session of its own, as edgedeploy's workers are: Linux shares processors out by session.
        subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process,
    ):
        guard = threading.Timer(1800, process.kill)
        guard.start()
        _, status, usage = os.wait4(process.pid, 0)  # with what its own children used
        took = time.perf_counter() - started
        guard.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {printed.decode(errors='replace')[-2000:]}")
    return Took(took, usage.ru_utime + usage.ru_stime, printed)


def export(cwd: Path, model: str) -> Took:
    """By edgedeploy, with nothing cached but the runners, which are built once per machine."""
    for folder in (cwd / "cache/edgedeploy").iterdir():
        if folder.name != "runners":
            shutil.rmtree(folder)
    return run(EDGEDEPLOY, "export", "--target", "every-lane", "--model", model, "--jobs", "1", "--json", cwd=cwd)


def by_hand(cwd: Path, model: str, *options: str) -> Took:
    """By the script."""
    shutil.rmtree(cwd / "out", ignore_errors=True)
    return run(sys.executable, "by_hand.py", MODELS[model], "out", *options, cwd=cwd)


def compared(work: Path) -> Iterator[tuple[str, str, Took]]:
    """Model, way, and what it took; the ways in turn, the other way round in every second round."""
    ways = {
        "edgedeploy": export,
        "by hand": by_hand,
        "by hand, unverified": lambda cwd, model: by_hand(cwd, model, "--unverified"),
    }
    for number in range(ROUNDS):
        for model in MODELS:
            for name in list(ways)[:: -1 if number % 2 else 1]:
                took = ways[name](work, model)
                print(f"{model}, {name}: {took.cpu_s:.1f} s of CPU, {took.wall_s:.1f} s", flush=True)
                yield model, name, took


def overhead(work: Path) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Figures and samples of the comparison."""
    for file in (HERE / "edgedeploy.toml", HERE / "by_hand.py", *(ROOT / "examples/zoo").glob("*.py")):
        shutil.copy(file, work)
    shutil.copytree(HERE / "targets", work / "targets")
    run(EDGEDEPLOY, "export", "--target", "every-lane", "--model", "keyword-spotting", "--json", cwd=work)  # builds the runners
    samples: dict[str, list[float]] = {}
    for model, way, took in compared(work):
        for kind, seconds in (("CPU", took.cpu_s), ("wall", took.wall_s)):
            samples.setdefault(f"{model}, {way}, {kind}", []).append(seconds)
    figures: dict[str, float] = {}
    for other in ("by hand", "by hand, unverified"):
        for kind in ("CPU", "wall"):
            pairs = {m: (samples[f"{m}, edgedeploy, {kind}"], samples[f"{m}, {other}, {kind}"]) for m in MODELS}
            every = tuple([seconds for pair in pairs.values() for seconds in pair[side]] for side in (0, 1))
            pairs["all"] = (every[0], every[1])
            for model, (ours, theirs) in pairs.items():
                middle, low, high = median_ratio(ours, theirs)
                name = f"{model}, over {other}, {kind} ratio"
                figures |= {name: middle, f"{name} min": low, f"{name} max": high}
    return figures, samples


def again(work: Path) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Figures and samples of 20 artifacts that are there."""
    command = (EDGEDEPLOY, "export", "--target", "this-machine", "--json")
    sources = [work / f"net_{number}.py" for number in range(5)]
    for number, file in enumerate(sources):
        file.write_text(SMALL.format(number=number, width=8 + number), encoding="utf-8")
    deployed = "".join(DEPLOYED.format(number=number) for number in range(5))
    (work / "edgedeploy.toml").write_text(f'name = "twenty"\n{deployed}', encoding="utf-8")
    first = run(*command, cwd=work)
    reruns = [run(*command, cwd=work) for _ in range(RERUNS)]
    if any(made(one) for one in reruns):
        raise SystemExit("something was exported again with nothing changed")
    sources[2].write_text(SMALL.format(number=2, width=32), encoding="utf-8")
    rebuilt = made(run(*command, cwd=work))
    if rebuilt != ["net-2"] * 4:
        raise SystemExit(f"after a change of net-2, {rebuilt} were exported again")
    samples = {
        "20 artifacts, first, wall": [first.wall_s],
        "20 artifacts, nothing changed, wall": [one.wall_s for one in reruns],
        "20 artifacts, nothing changed, CPU": [one.cpu_s for one in reruns],
    }
    figures = {
        "20 artifacts, nothing changed, wall s, slowest": max(one.wall_s for one in reruns),
        "20 artifacts, nothing changed, CPU s, slowest": max(one.cpu_s for one in reruns),
        "20 artifacts, one model changed, rebuilt": float(len(rebuilt)),
    }
    return figures, samples


def made(took: Took) -> list[str]:
    """The models of the artifacts that did not come from the cache."""
    document = json.loads(took.printed)
    return [result["model"] for result in document["runs"] if not result["artifact"]["export_cached"]]


def main() -> None:
    """Measure and record."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("zoo", "twenty"):
            Path(folder, name).mkdir()
        ratios, pairs = overhead(Path(folder, "zoo"))
        shutil.copytree(Path(folder, "zoo/cache/edgedeploy/runners"), Path(folder, "twenty/cache/edgedeploy/runners"))
        times, reruns = again(Path(folder, "twenty"))
    cpu = [ratios[f"all, over by hand, CPU ratio{end}"] for end in ("", " min", " max")]
    slowest = times["20 artifacts, nothing changed, wall s, slowest"]
    record(
        "export",
        question="three models in five lanes (load, trace, calibrate, convert, save, run, compare), against a script with the "
        "same SDK calls; 20 artifacts with nothing changed",
        answer=f"CPU {cpu[0]:.2f}× ({cpu[1]:.2f} to {cpu[2]:.2f}), wall "
        f"{ratios['all, over by hand, wall ratio']:.2f}×; against a script that compares nothing CPU "
        f"{ratios['all, over by hand, unverified, CPU ratio']:.2f}× (median of {ROUNDS * len(MODELS)} pairs); nothing changed "
        f"at most {slowest:.2f} s of {RERUNS} times; after a change of one model, its 4 artifacts",
        figures=ratios | times,
        samples=pairs | reruns,
        distributions=["torch", "executorch", "litert-torch", "ai-edge-quantizer", "coremltools", "torchao", "edgedeploy"],
    )


if __name__ == "__main__":
    main()
