"""Two artifacts measured in turn on one device, and what is concluded from it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

Side = Literal["base", "candidate"]
Figure = Literal["latency_p50", "latency_p90", "latency_p99", "latency_mean", "ttft", "load", "peak_rss"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
Conclusion = Literal["pass", "fail", "inconclusive"]

_FULLY_WRITTEN = 1000  # larger ones are the ends of intervals of two blocks

Nanoseconds = Annotated[int, msgspec.Meta(ge=0)]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A short slice of iterations of one side, while the other side waits.

    ``settling_ns`` are iterations that came right after the other side's turn and are kept apart: caches were the other's.
    ``start_ns`` is of a clock that both sides share and that never goes back. Of a language model a turn is an answer:
    ``ttft_ns`` is the time to its first token, ``latency_ns`` those of the others.
    """

    side: Side
    start_ns: Nanoseconds
    latency_ns: tuple[Nanoseconds, ...]
    settling_ns: tuple[Nanoseconds, ...] = ()
    ttft_ns: Nanoseconds | None = None


class SideFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one process has one figure of."""

    load_ns: Nanoseconds
    peak_rss_bytes: Annotated[int, msgspec.Meta(ge=0)]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One fresh process of each side, and the turns they took, in the order in which they took them.

    Processes differ from one another more than iterations within one (where memory came to lie), so a block counts as one
    observation, however many turns it has. Where memory does not suffice for two processes at once, a block is two of them
    one after the other: two long turns.
    """

    turns: tuple[Turn, ...]
    base: SideFigures
    candidate: SideFigures


class Unrest(msgspec.Struct, frozen=True, kw_only=True):
    """How much the device changed during a comparison, as seen by both sides alike.

    ``drift`` is the trend from the first block to the last: 0.1 is 10 % slower at the end. ``swing`` is how far the slow
    stretches are from the fast ones, the 90th to the 10th percentile: 0.3 for a neighbour that takes a quarter of the device.
    """

    drift: float
    swing: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How the candidate compares with the base in one figure.

    ``ratio`` is candidate to base: above 1 is slower or larger; tokens per second are the reciprocal of ``latency_mean``.
    ``low`` to ``high`` is its interval, which may be looked at after every block; ``confidence`` holds for all of these looks
    together. All three are None where there is nothing to compute them from. ``more_blocks`` is about how many more blocks
    would settle it; None where they would not, or where it is settled. ``samples`` counts the latencies that were used; for
    load and memory it counts processes. A ``size`` is exact: its interval is the ratio itself.
    """

    figure: Figure | Literal["size"]
    verdict: Conclusion
    tolerance: float
    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    confidence: float
    blocks: int
    samples: int
    more_blocks: int | None = None
    reasons: tuple[str, ...] = ()
    unrest: Unrest | None = None

    @property
    def interval(self) -> str:
        """``1.003 (0.998 to 1.008)``, for the eye."""
        if self.ratio is None:
            return "no ratio"
        return f"{_short(self.ratio)} ({_short(self.ci_low or 0.0)} to {_short(self.ci_high or 0.0)})"


def _short(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < _FULLY_WRITTEN else f"{ratio:.1e}"
