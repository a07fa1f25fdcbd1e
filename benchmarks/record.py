"""Writes what a benchmark found: ``benchmarks/results/<name>.json``, and its line in ``docs/benchmarks.md``."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median, smallest and largest of the pairwise ratios of two interleaved series."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def record(
    name: str,
    *,
    question: str,
    answer: str,
    figures: Mapping[str, float],
    samples: Mapping[str, Sequence[float]],
    distributions: Sequence[str],
    rows: Sequence[Mapping[str, str | int]] = (),
) -> None:
    """Store figures, raw samples (seconds), counts (``rows``), versions and the machine; and say it in one line on the page."""
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    document = {
        "schema": "edgedeploy.benchmark/1",
        "name": name,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "question": question,
        "answer": answer,
        "figures": dict(figures),
        **({"rows": [dict(row) for row in rows]} if rows else {}),
        "samples_s": {key: list(values) for key, values in samples.items()},
        "versions": {
            "python": platform.python_version(),
            **{dist: importlib.metadata.version(dist) for dist in distributions},
        },
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg(),
        },
    }
    (results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    row = f"| [{name}](../benchmarks/results/{name}.json) | {document['date']} | {question} | {answer} |"
    kept = [line for line in lines if not line.startswith(f"| [{name}]")]
    PAGE.write_text("\n".join([*kept, row]) + "\n", encoding="utf-8")
    sys.stdout.write(f"{answer}\n")
