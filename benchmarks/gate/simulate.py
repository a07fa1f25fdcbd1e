"""How often is the gate wrong, and how soon is it right? On the devices of ``noise.py``, with the code that judges real ones."""

from __future__ import annotations

import argparse
from statistics import median

import numpy as np
from noise import SCENARIOS, Device, Noise

from edgedeploy.domain.comparison import Comparison, Figure
from edgedeploy.stats.comparison import TOLERANCE, judge
from edgedeploy.stats.figures import BlockRatios, block_ratios

LIMITS = (10, 20, 40)  # blocks at most
CLOSE = 0.01


def one(noise: Noise, slow_down: float, seed: int, figure: Figure, most: int) -> Comparison:
    """Blocks until it is settled, at most so many."""
    device = Device(noise=noise, slow_down=slow_down, rng=np.random.default_rng(seed))
    seen = BlockRatios(figure=figure, log_ratios=(), samples=0)
    for _ in range(most):
        new = block_ratios([device.block()], figure)
        seen = BlockRatios(
            figure=figure,
            log_ratios=seen.log_ratios + new.log_ratios,
            samples=seen.samples + new.samples,
            log_levels=seen.log_levels + new.log_levels,
            too_short=seen.too_short + new.too_short,
        )
        result = judge(seen)
        if result.verdict != "inconclusive":
            break
    return result


def share(results: list[Comparison], verdict: str, limit: int) -> float:
    """Of the comparisons, those with this verdict within so many blocks; in per cent."""
    return 100 * sum(one.verdict == verdict and one.blocks <= limit for one in results) / len(results)


def row(name: str, noise: Noise, count: int, figure: Figure) -> str:
    """One line of the table."""
    runs = {
        slow_down: [one(noise, slow_down, seed, figure, LIMITS[-1]) for seed in range(count)]
        for slow_down in (0.0, TOLERANCE, 0.05, 0.10)
    }
    same = runs[0.0]
    close = 100 * sum(abs((one.ratio or 9.0) - 1) <= CLOSE for one in same) / count
    cells = [
        f"{share(same, 'fail', LIMITS[-1]):.1f}",
        f"{share(runs[TOLERANCE], 'fail', LIMITS[-1]):.1f}",
        f"{close:.0f}",
        " / ".join(f"{share(same, 'pass', limit):.0f}" for limit in LIMITS),
        " / ".join(f"{share(runs[0.05], 'fail', limit):.0f}" for limit in LIMITS),
        " / ".join(f"{share(runs[0.10], 'fail', limit):.0f}" for limit in LIMITS),
        ", ".join(f"{median(one.blocks for one in runs[effect]):.0f}" for effect in (0.0, 0.05, 0.10)),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="comparisons per cell")
    parser.add_argument("--figure", default="latency_p50")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    given = parser.parse_args()
    limits = "/".join(map(str, LIMITS))
    print(f"{given.figure}, {given.count} comparisons per cell, tolerance {TOLERANCE:.0%}; all in per cent but the blocks\n")
    print(
        f"| scenario | A/A fails | +{TOLERANCE:.0%} fails | A/A within 1 % | A/A passes by {limits} blocks | "
        f"+5 % fails by {limits} | +10 % fails by {limits} | blocks, median: A/A, +5 %, +10 % |"
    )
    print("|---" * 8 + "|")
    for name, noise in SCENARIOS.items():
        if given.only in name:
            print(row(name, noise, given.count, given.figure), flush=True)


if __name__ == "__main__":
    main()
