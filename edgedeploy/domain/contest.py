"""The document that a comparison ends with: the contract of ``edgedeploy compare --json``."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgedeploy.domain.comparison import Block, Comparison
from edgedeploy.domain.conditions import FixedClock, Start
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.target import Lane
from edgedeploy.domain.upkeep import Finding
from edgedeploy.domain.verdict import GATE_FAILED_EXIT_CODE, INCONCLUSIVE_EXIT_CODE

COMPARE_SCHEMA = "edgedeploy.compare/1"


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a comparison: which artifact it was, and ``origin``, what the user called it.

    ``sha256`` is empty of a base that was to be found on the device, and was not.
    """

    origin: str
    model: str
    recipe: str
    lane: Lane
    sha256: str
    size_bytes: int


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """What one side did: medians over all its processes.

    Of a language model, latency is that of a token after the first, ``ttft_ns`` the time to the first one, and
    ``decode_tokens_per_s`` the mean over all after it; both are None of others.
    """

    runner: str
    engine: str
    engine_version: str
    threads: int
    latency_p50_ns: int
    load_ns: int
    peak_rss_bytes: int
    ttft_ns: int | None = None
    decode_tokens_per_s: float | None = None


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """Two artifacts compared on one device.

    ``ratio`` to ``samples`` are those of the first figure that decides, at hand for scripts; ratios are candidate to base,
    and None where there is nothing to compute them from. ``decided`` has all that decide, ``others`` are for information:
    nothing is decided by them. ``taking_turns`` is false where the two could not be there at the same time.
    ``same_outputs``: on the golden inputs, byte for byte; None where that is not known, or the inputs are not the same.
    ``start`` is None where nothing was waited for, ``fixed_clock`` where nobody asked for one. ``measured`` has every
    latency. After an ``error`` there is nothing of all this, nor where a gate finds the same file on both sides.
    """

    device: str
    base: Contender
    candidate: Contender
    verdict: Literal["pass", "fail", "inconclusive", "error"]
    reasons: tuple[str, ...] = ()
    ratio: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    blocks: int = 0
    samples: int = 0
    decided: tuple[Comparison, ...] = ()
    others: tuple[Comparison, ...] = ()
    base_performance: Performance | None = None
    candidate_performance: Performance | None = None
    taking_turns: bool = True
    same_outputs: bool | None = None
    turn_s: float = 0.0
    seed: int = 0
    seconds: float = 0.0
    start: Start | None = None
    fixed_clock: FixedClock | None = None
    before: DeviceFacts | None = None
    after: DeviceFacts | None = None
    measured: tuple[Block, ...] = ()
    error: Failure | None = None


class Contests(Finding, frozen=True, kw_only=True):
    """All comparisons on one device."""

    contests: tuple[Contest, ...]


class CompareReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one call of compare did."""

    schema: str = COMPARE_SCHEMA
    edgedeploy: str
    project: str
    target: str
    comparisons: tuple[Contest, ...]

    @property
    def exit_code(self) -> int:
        """A comparison that failed first, as no further attempt would change it; then the first error's, inconclusive, 0."""
        verdicts = {contest.verdict for contest in self.comparisons}
        if "fail" in verdicts:
            return GATE_FAILED_EXIT_CODE
        for contest in self.comparisons:
            if contest.error is not None:
                return contest.error.exit_code
        return INCONCLUSIVE_EXIT_CODE if "inconclusive" in verdicts else 0
