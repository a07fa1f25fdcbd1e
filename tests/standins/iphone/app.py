"""Stands in for our iOS app (runner/ios): the same arguments and document, without Core ML. Any Python 3.8 runs it.

Real here: files are laid out by the manifest, every blob is hashed before it counts, and the document carries the SHA-256 of the
package that lies there. Not real: there is no model. Outputs are twice the inputs, which is what the tests' model computes, and times
are those of that. It runs in the container's folder.
"""

from __future__ import annotations

import argparse
import array
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

VERSION = {"name": "edgedeploy-runner", "version": "0.1.0", "engine": "stand-in", "engine_version": "0"}
SCHEMA = "edgedeploy.runner/1"


class FailureError(Exception):
    """A stage of the protocol, and what is wrong."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.message = stage, message


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("document", "model", "method", "output-dir", "compute-units"):
        parser.add_argument(f"--{name}")
    for name in ("input", "check", "remove"):
        parser.add_argument(f"--{name}", action="append", default=[])
    for name in ("warmup", "iterations", "threads", "profile"):
        parser.add_argument(f"--{name}", type=int, default=0)
    for name in ("warmup-seconds", "min-seconds", "max-seconds"):
        parser.add_argument(f"--{name}", type=float, default=0)
    for name in ("vary", "cold"):
        parser.add_argument(f"--{name}", choices=("0", "1"), default="0")
    parser.add_argument("--facts", action="store_true")
    return parser.parse_args()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def laid_out(path: str, place: Path) -> Path:
    """A file or folder of a release, from blobs that are what their names say."""
    release = next((folder for folder in Path(path).parents if (folder / "manifest.json").is_file()), None)
    if release is None:
        raise FailureError("read", f"{path}: no release has it")
    wanted = str(Path(path).relative_to(release))
    blobs = release.parents[3] / "blobs"
    found = place / wanted
    for entry in json.loads((release / "manifest.json").read_text())["files"]:
        if entry["path"] != wanted and not entry["path"].startswith(f"{wanted}/"):
            continue
        blob, target = blobs / entry["sha256"], place / entry["path"]
        if not blob.is_file():
            raise FailureError("read", f"{entry['path']}: its blob is not there")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(blob, target)
        if sha256(target) != entry["sha256"]:
            raise FailureError("read", f"{entry['path']}: its blob is damaged")
    if not found.exists():
        raise FailureError("read", f"{path}: the release does not have it")
    return found


def package_sha256(folder: Path) -> tuple[str, int]:
    files = sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_file())
    lines = "".join(f"{sha256(path)}  {name}\n" for name, path in files)
    return hashlib.sha256(lines.encode()).hexdigest(), sum(path.stat().st_size for _, path in files)


def facts() -> dict:
    free = json.loads(Path("../state.json").read_text()).get("free_bytes")
    return {
        "os_version": "17.6.1",
        "model": "iPhone15,4",
        "memory_total_bytes": 6 << 30,
        "memory_available_bytes": 3 << 30,
        "storage_free_bytes": 1 << 36 if free is None else free,
        "thermal_state": "nominal",
        "low_power_mode": False,
    }


def upkeep(options: argparse.Namespace) -> dict:
    damaged = [Path(path).name for path in options.check if not Path(path).is_file() or sha256(Path(path)) != Path(path).name]
    for path in map(Path, options.remove):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return {"damaged": damaged}


def measured(options: argparse.Namespace, place: Path) -> dict:
    if options.profile:
        raise FailureError("load", "Core ML does not tell the time per operator")
    model = laid_out(options.model, place)
    sha, size = package_sha256(model)
    output_dir = Path(options.output_dir)
    output_dir.mkdir(parents=True)
    outputs, cases = [], 1
    for number, given in enumerate(options.input):
        dtype, dims, file = given.split(":", 2)
        shape = [int(dim) for dim in dims.split(",")]
        values = array.array("f", laid_out(file, place).read_bytes())
        count = 1
        for dim in shape:
            count *= dim
        cases = len(values) // count
        array.array("f", [2 * value for value in values]).tofile((output_dir / f"output_{number}.bin").open("wb"))
        outputs.append({"dtype": dtype, "shape": shape, "file": f"output_{number}.bin"})
    began = time.monotonic_ns()
    return {
        "model": {"sha256": sha, "size_bytes": size},
        "threads": 0,
        "cpus": [],
        "clock": {"name": "CLOCK_UPTIME_RAW", "resolution_ns": 1},
        "load_ns": time.monotonic_ns() - began,
        "first_inference_ns": 1000,
        "warmup_ns": [1000] * options.warmup,
        "latency_ns": [1000 + number % 7 for number in range(options.iterations)],
        "rss_before_load_bytes": 10 << 20,
        "peak_rss_bytes": 20 << 20,
        "cases": cases,
        "outputs": outputs,
    }


def main() -> None:
    """One start."""
    options = arguments()
    document = Path(options.document)
    shutil.rmtree(document.parent, ignore_errors=True)
    document.parent.mkdir(parents=True)
    ill = json.loads(Path("../state.json").read_text())
    if options.model and ill.get("crashes"):
        os.kill(os.getpid(), signal.SIGABRT)
    if options.model and ill.get("hangs"):
        Path("../hung").write_text(str(os.getpid()))
        time.sleep(600)
    try:
        said = measured(options, document.parent / "laid-out") if options.model else upkeep(options)
        said = {"schema": SCHEMA, "runner": VERSION, "device": facts(), **said}
    except FailureError as failure:
        said = {"schema": SCHEMA, "error": {"stage": failure.stage, "message": failure.message}}
    document.write_text(json.dumps(said))
    sys.exit(0)


main()
