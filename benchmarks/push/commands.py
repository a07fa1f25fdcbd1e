"""``edgedeploy push`` as a user runs it: a bundle, to devices of a lab file, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from bundles import for_target
from paths import HERE
from receive import Asked
from rigs import LIMIT_S, Rig

from edgedeploy.cache import Cache
from edgedeploy.deploy.digest import entries_of
from edgedeploy.domain.release import LocalFile
from edgedeploy.domain.result import PushReport
from edgedeploy.runners.device_helper import device_helper

EDGEDEPLOY = str(Path(sys.executable).parent / "edgedeploy")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """Seconds with the interpreter's start, and what was sent to all devices together."""

    seconds: float
    sent_bytes: int
    peak_bytes: int = 0


def push(bundle: Path, rigs: Sequence[Rig], *, peak: bool = False) -> Pushed:
    """Deploy a bundle to devices of one kind; with ``peak``, how much memory that took beyond the imports'."""
    folder = for_target(bundle, rigs[0].device.target)
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(HERE / "targets", Path(place, "targets"))
        Path(place, "lab.toml").write_text("".join(rig.lab() for rig in rigs), encoding="utf-8")
        program = [sys.executable, str(HERE / "peak.py"), f"{place}/peak"] if peak else [EDGEDEPLOY]
        named = [word for rig in rigs for word in ("--device", rig.device.name)]
        command = [*program, "push", "--bundle", str(folder), "--no-measure", "--json", *named]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=place, capture_output=True, check=False, timeout=LIMIT_S)
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {(done.stdout + done.stderr).decode(errors='replace')[-3000:]}")
        stats = [run.push for run in msgspec.json.decode(done.stdout, type=PushReport).runs]
        return Pushed(
            seconds=seconds,
            sent_bytes=sum(one.bytes_sent for one in stats if one is not None),
            peak_bytes=int(Path(place, "peak").read_text(encoding="ascii")) if peak else 0,
        )


def receive(rig: Rig, file: LocalFile, helper: LocalFile | None) -> float:
    """Seconds that the store takes for a file in a process that is warm."""
    asked = Asked(device=rig.device, workdir=rig.workdir, file=file, helper=helper)
    command = [sys.executable, str(HERE / "receive.py"), msgspec.json.encode(asked).decode()]
    done = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT_S)
    return float(done.stdout)


def helper() -> LocalFile:
    """The device helper for this machine's own processor, which the stand-ins have."""
    return local_file(device_helper("host", cache_dir=Cache().runners, emit=print))


def local_file(path: Path) -> LocalFile:
    """A file with its digest."""
    (entry,) = entries_of(path)
    return LocalFile(local=str(path), entry=entry)


def forget_chunks() -> None:
    """Have no map of any file on this machine, as before its first push."""
    shutil.rmtree(Cache().chunks, ignore_errors=True)
