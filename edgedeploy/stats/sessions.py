"""Do sessions of the same artifact on the same device agree?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

AGREEMENT = 0.05


def session_p50(processes: Sequence[Sequence[int]]) -> float:
    """The median of the processes' medians: processes differ, and one of them may have had many more iterations.

    Raises:
        ValueError: no process with samples, or a latency is not positive.
    """
    medians = [median(samples) for samples in processes if samples]
    if not medians or min(min(samples) for samples in processes if samples) <= 0:
        raise ValueError(f"a session of {len(processes)} processes has no median latency")
    return median(medians)


def spread(p50_ns: Sequence[float]) -> float:
    """How much slower the slowest session is than the fastest: 0.05 for 5 %.

    Raises:
        ValueError: fewer than two sessions, or a latency is not positive.
    """
    if len(p50_ns) < 2 or not all(p50 > 0 for p50 in p50_ns):  # noqa: PLR2004
        raise ValueError(f"sessions of {list(p50_ns)} ns cannot be said to agree")
    return max(p50_ns) / min(p50_ns) - 1.0


def agree(p50_ns: Sequence[float]) -> bool:
    """Whether sessions are within 5 % of one another; where not, their result is to be called unstable."""
    return round(spread(p50_ns), 9) <= AGREEMENT
