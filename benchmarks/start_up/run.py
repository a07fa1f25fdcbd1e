"""How long do ``edgedeploy --help`` and ``edgedeploy targets`` take, against Python that imports click and nothing else?"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import median_ratio, record

ROUNDS = 30
BIN = Path(sys.executable).parent
COMMANDS = {
    "import click": [sys.executable, "-c", "import click"],
    "edgedeploy --help": [str(BIN / "edgedeploy"), "--help"],
    "edgedeploy targets": [str(BIN / "edgedeploy"), "targets"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one whole process. Not by ``run(timeout=…)``, which polls, and rounds to its own naps."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        code = process.wait()
        took = time.perf_counter() - started
        guard.cancel()
    if code != 0:
        raise SystemExit(f"{command} ended with {code}")
    return took


def main() -> None:
    """Interleave the three, after one round that warms the file cache."""
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            took = seconds(command)
            if number:
                samples[name].append(took)
    figures = {}
    parts = []
    for name in ("edgedeploy --help", "edgedeploy targets"):
        middle, low, high = median_ratio(samples[name], samples["import click"])
        figures |= {f"{name} ratio": middle, f"{name} ratio min": low, f"{name} ratio max": high}
        parts.append(f"`{name}` {middle:.2f}×")
    record(
        "start_up",
        question='start-up against `python -c "import click"`, whole processes, interleaved',
        answer=f"{', '.join(parts)} (median of {ROUNDS} pairs)",
        figures=figures,
        samples=samples,
        distributions=["click", "msgspec", "edgedeploy"],
    )


if __name__ == "__main__":
    main()
