"""What does a push cost beyond the SDK's own work? The same steps, by edgedeploy and written by hand, in turn.

By hand: one process that loads the model, exports it with the SDK, runs the result on its inputs, compares with
PyTorch, and times as many iterations as the push does.

Both sides start from nothing cached; a third figure is a push with nothing changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import median_ratio, record

ROUNDS = 5
HERE = Path(__file__).resolve().parent


def seconds(command: list[str], *, cwd: Path, cache: Path) -> float:
    """Wall time of one whole process, which has to succeed."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "XDG_STATE_HOME": str(cache / "state"), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=cwd, env=environment, capture_output=True, timeout=900)
    return time.perf_counter() - started


def main() -> None:
    """Interleave edgedeploy, by hand, and the second push."""
    samples: dict[str, list[float]] = {"edgedeploy": [], "by hand": [], "nothing changed": []}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for file in ("model.py", "edgedeploy.toml", "by_hand.py"):
            shutil.copy(HERE / file, work)
        push = [str(Path(sys.executable).parent / "edgedeploy"), "push", "--target", "this-machine", "--json"]
        cache = work / "cache"
        seconds(push, cwd=work, cache=cache)  # builds the runner, which a user pays for once
        for _ in range(ROUNDS):
            for name in ("exports", "sources", "verifications"):
                shutil.rmtree(cache / "edgedeploy" / name)
            samples["edgedeploy"].append(seconds(push, cwd=work, cache=cache))
            samples["nothing changed"].append(seconds(push, cwd=work, cache=cache))
            samples["by hand"].append(seconds([sys.executable, "by_hand.py"], cwd=work, cache=cache))
    middle, low, high = median_ratio(samples["edgedeploy"], samples["by hand"])
    again, _, _ = median_ratio(samples["nothing changed"], samples["by hand"])
    record(
        "pipeline_overhead",
        question="a first push to this machine (export, verify, push, measure) against the same steps by hand in one process",
        answer=f"first push {middle:.2f}× ({low:.2f} to {high:.2f}), nothing changed {again:.2f}× (median of {ROUNDS} pairs)",
        figures={"ratio": middle, "ratio min": low, "ratio max": high, "nothing changed ratio": again},
        samples=samples,
        distributions=["torch", "executorch", "edgedeploy"],
    )


if __name__ == "__main__":
    main()
