"""Do the predictions of ``edgedeploy plan`` hold? The models beside this file are profiled, exported, and both are compared.

The constants of the exporters' footprints were chosen on the zoo, and on none of these. One export per
process: what earlier lanes leave in a worker's memory would count for the next.

``python benchmarks/predictions/run.py 30`` begins no further export after 30 minutes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import record

from edgedeploy import registry
from edgedeploy.config.project import read_project
from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.profile import ModelProfile
from edgedeploy.domain.project import Model
from edgedeploy.domain.target import Lane
from edgedeploy.errors import EdgedeployError
from edgedeploy.worker.client import Workers
from edgedeploy.worker.job import ExportJob, Order, ProfileJob

PROJECT = Path(__file__).resolve().parent
LANES = (
    ("executorch", "xnnpack", "fp32"),
    ("executorch", "xnnpack", "int8"),
    ("tflite", "xnnpack", "fp32"),
    ("tflite", "xnnpack", "int8"),
    ("coreml", "mlprogram", "fp32"),
    ("coreml", "mlprogram", "int8"),
)
SIZE_BOUND, MEMORY_BOUND = 0.05, 0.25


def profiled(name: str, model: Model, log: Path) -> ModelProfile:
    """What the model is made of."""
    job = ProfileJob(
        project_root=str(PROJECT),
        project_file=str(PROJECT / "edgedeploy.toml"),
        model_name=name,
        model=model,
        compress=(),
    )
    return Workers().profile(job, log=log, emit=lambda _text: None).profile


def exported(name: str, model: Model, lane: Lane, folder: Path) -> Artifact | EdgedeployError:
    """The artifact that a process of its own makes."""
    apple = lane.exporter == "coreml"
    (folder / "export").mkdir()
    job = ExportJob(
        project_root=str(PROJECT),
        project_file=str(PROJECT / "edgedeploy.toml"),
        model_name=name,
        model=model,
        compress=(),
        os="ios" if apple else "linux",
        min_os="18" if apple else "",
        compute_units="all",
        runtime_versions={},
        orders=(Order(lane=lane, recipe=lane.precision, folder=str(folder / "export")),),
    )
    ((_, outcome),) = Workers().run(job, log=folder / "log.txt", tell=lambda _order, _text: None)
    return outcome if isinstance(outcome, EdgedeployError) else outcome.artifact


def main() -> None:
    """Profile and export, compare, record."""
    ends_at = time.monotonic() + 60 * float(sys.argv[1] if len(sys.argv) > 1 else "inf")
    sizes: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    refused = []
    for name, model in read_project(PROJECT / "edgedeploy.toml").models.items():
        if time.monotonic() > ends_at:
            break
        with tempfile.TemporaryDirectory() as folder:
            profile = profiled(name, model, Path(folder, "log.txt"))
        for exporter, backend, precision in LANES:
            lane = Lane(exporter=exporter, backend=backend, precision=precision)
            if time.monotonic() > ends_at:
                break
            footprint = registry.exporter(exporter).footprint(profile, lane)
            with tempfile.TemporaryDirectory() as folder:
                artifact = exported(name, model, lane, Path(folder))
            if footprint is None or isinstance(artifact, EdgedeployError):
                refused.append(f"{name} {lane.id}")
                continue
            size = footprint.size_bytes / artifact.size_bytes - 1
            peak = footprint.export_peak_bytes / artifact.peak_export_rss_bytes - 1
            print(
                f"{name} {lane.id}: {artifact.size_bytes} B, predicted {size:+.1%}; "
                f"{artifact.peak_export_rss_bytes / 1e6:.0f} MB, predicted {peak:+.1%}",
                flush=True,
            )
            sizes.setdefault(lane.id, []).append(size)
            memory.setdefault(lane.id, []).append(peak)
    _record(sizes, memory, refused)


def _record(sizes: dict[str, list[float]], memory: dict[str, list[float]], refused: list[str]) -> None:
    all_sizes = [error for errors in sizes.values() for error in errors]
    all_memory = [error for errors in memory.values() for error in errors]
    good_sizes = sum(abs(error) <= SIZE_BOUND for error in all_sizes)
    good_memory = sum(abs(error) <= MEMORY_BOUND for error in all_memory)
    figures = {
        "exports": len(all_sizes),
        "refused by the SDK": len(refused),
        "size within 5 %": good_sizes,
        "export memory within 25 %": good_memory,
        "median size error": statistics.median(map(abs, all_sizes)),
        "median export memory error": statistics.median(map(abs, all_memory)),
    }
    figures |= {f"size error {lane}, largest": max(map(abs, errors)) for lane, errors in sizes.items()}
    figures |= {f"export memory error {lane}, largest": max(map(abs, errors)) for lane, errors in memory.items()}
    record(
        "predictions",
        question="what `edgedeploy plan` predicts against what the export then is, on models that no constant was chosen on",
        answer=f"size within 5 % in {good_sizes} of {len(all_sizes)} exports (median error "
        f"{figures['median size error']:.1%}), peak export memory within 25 % in {good_memory} of {len(all_memory)} "
        f"(median {figures['median export memory error']:.1%})",
        figures=figures,
        samples={},
        distributions=["torch", "executorch", "litert-torch", "coremltools", "edgedeploy"],
    )


if __name__ == "__main__":
    main()
