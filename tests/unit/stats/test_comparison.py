from __future__ import annotations

import random
import time
from math import exp

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.stats.blocks import block, exchanged, pair_of

from edgedeploy.domain.comparison import Block, SideFigures, Turn
from edgedeploy.stats.comparison import LEAST_BLOCKS, MOST_BLOCKS, TAIL_PER_LOOK, compare, judge
from edgedeploy.stats.figures import BlockRatios
from edgedeploy.stats.student import t_quantile


def around(ratio: float, spread: float, count: int) -> list[Block]:
    """Blocks with ratios evenly around one."""
    steps = [spread * (2 * index / (count - 1) - 1) for index in range(count)]
    return [pair_of(1_000_000, round(1_000_000 * ratio * exp(step))) for step in steps]


def ratios(*values: float) -> BlockRatios:
    return BlockRatios(figure="latency_p50", log_ratios=values, samples=100 * len(values))


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.0, "pass"), (0.8, "pass"), (1.1, "fail"), (1.05, "fail"), (1.02, "inconclusive")]
)
def test_the_verdict(ratio: float, verdict: str) -> None:
    seen = compare(around(ratio, 0.004, 8), "latency_p50")
    assert seen.verdict == verdict
    assert seen.ratio == pytest.approx(ratio, rel=1e-3)
    assert seen.ci_low is not None
    assert seen.ci_high is not None
    assert seen.ci_low < ratio < seen.ci_high
    assert (seen.blocks, seen.samples) == (8, 80)
    assert bool(seen.reasons) == (verdict == "inconclusive")


def test_the_time_to_the_first_token_is_a_figure_of_its_own() -> None:
    """A device that slows down slows both, and falls out; the tokens after the first do not count."""

    def answers(ratio: float, level: float) -> Block:
        ttft_ns = {"base": round(1e9 * level), "candidate": round(1e9 * level * ratio)}
        made = pair_of(1_000_000, 5_000_000)
        return msgspec.structs.replace(
            made, turns=tuple(msgspec.structs.replace(turn, ttft_ns=ttft_ns[turn.side]) for turn in made.turns)
        )

    blocks = [answers(1.1 + step / 1000, 1 + step) for step in range(8)]
    seen = compare(blocks, "ttft")
    assert (seen.verdict, seen.ratio, seen.samples) == ("fail", pytest.approx(1.1, rel=0.01), 16)
    silent = compare([pair_of(1_000_000, 1_000_000)] * 5, "ttft")
    assert (silent.verdict, silent.ratio) == ("inconclusive", None)


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["base", "candidate"]), st.lists(st.integers(10**6, 2 * 10**6), min_size=1, max_size=5)),
            min_size=2,
            max_size=6,
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["latency_p50", "latency_mean", "load", "peak_rss"]),
)
def test_exchanging_the_sides_gives_the_reciprocal(given_blocks: list, figure: str) -> None:
    blocks = [
        block(*turns, candidate=SideFigures(load_ns=10_000_000 + 1000 * index, peak_rss_bytes=5_000_000 + index))
        for index, turns in enumerate(given_blocks)
    ]
    one, other = compare(blocks, figure), compare([exchanged(each) for each in blocks], figure)
    assert (one.blocks, one.samples, one.unrest) == (other.blocks, other.samples, other.unrest)
    if one.ratio is None:
        assert other.ratio is None
    else:
        assert (one.ratio * other.ratio, one.ci_low * other.ci_high) == pytest.approx((1, 1), rel=1e-12)


def test_the_verdict_does_not_depend_on_who_began() -> None:
    # The same latencies; in every pair, the other side's turn came first.
    rng = random.Random(5)
    drawn = [[[rng.randint(990_000, 1_010_000) for _ in range(9)] for _ in range(2)] for _ in range(12)]
    one = compare([block(("base", b), ("candidate", c)) for b, c in drawn], "latency_p50")
    assert one == compare([block(("candidate", c), ("base", b)) for b, c in drawn], "latency_p50")


def test_a_clearly_faster_candidate_passes_with_a_wide_interval_and_a_lucky_one_does_not() -> None:
    assert judge(ratios(-0.3, -0.2, -0.25, -0.3, -0.2)).verdict == "pass"
    lucky = judge(ratios(-0.03, -0.005, -0.014, -0.026, -0.005, -0.025))
    assert lucky.ci_high is not None
    assert lucky.ci_high < 1.02
    assert lucky.verdict == "inconclusive"


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_said_of_one_block_or_none(count: int) -> None:
    seen = compare([pair_of(100, 200)] * count, "latency_p50")
    assert (seen.verdict, seen.ratio, seen.ci_low, seen.ci_high) == ("inconclusive", None, None, None)
    assert seen.more_blocks == LEAST_BLOCKS - count
    assert "nothing to compare" in seen.reasons[0]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_blocks_are_not_judged(count: int) -> None:
    seen = judge(ratios(*[0.5 + 0.0001 * index for index in range(count)]))
    assert (seen.verdict, seen.more_blocks) == ("inconclusive", LEAST_BLOCKS - count)
    assert "too few" in seen.reasons[0]


@pytest.mark.parametrize(("apart", "together"), [(-0.6, 6), (0.6, 6), (3.2, 1)])
def test_two_blocks_that_are_far_apart_have_a_finite_interval(apart: float, together: int) -> None:
    found = judge(ratios(0.0, apart), tolerance=0.02, together=together)
    assert found.verdict == "inconclusive"
    assert found.ratio is not None
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert 0 < found.ci_low < found.ratio < found.ci_high < float("inf")
    assert len(found.interval) < 40


def test_one_side_missing_is_inconclusive() -> None:
    seen = compare([block(("base", [100, 101]), ("base", [100, 101]))] * 5, "latency_p50")
    assert (seen.verdict, seen.ratio, seen.blocks) == ("inconclusive", None, 0)
    assert seen.reasons[0] == "5 of 5 blocks had too few samples for latency_p50"


def test_blocks_that_are_too_short_are_left_out_and_told_of() -> None:
    long = [block(("base", range(1000, 1010)), ("candidate", range(1001 + n, 1011 + n))) for n in range(5)]
    short = block(("base", [1000] * 6), ("candidate", [2000] * 6))
    seen = compare([*long, short], "latency_p90")
    assert (seen.blocks, seen.samples) == (5, 100)
    assert seen.reasons[0] == "1 of 6 blocks had too few samples for latency_p90"
    assert compare([*long, short], "latency_p99").ratio is None


def test_a_clock_too_coarse_to_tell_is_no_pass() -> None:
    seen = compare([pair_of(1_000_000 * level, 1_000_000 * level) for level in range(1, 11)], "latency_p50")
    assert seen.verdict == "inconclusive"
    assert "too coarse" in seen.reasons[0]


def test_memory_may_be_exactly_the_same() -> None:
    assert compare([pair_of(1_000_000, 1_000_000)] * 5, "peak_rss").verdict == "pass"
    more = SideFigures(load_ns=10_000_000, peak_rss_bytes=60_000_000)
    blocks = [block(("base", [100]), ("candidate", [100]), candidate=more)] * 5
    seen = compare(blocks, "peak_rss")
    assert (seen.verdict, seen.samples) == ("fail", 10)
    assert seen.ratio == pytest.approx(1.2)


@pytest.mark.parametrize("figure", ["load", "peak_rss"])
def test_a_figure_of_zero_is_refused(figure: str) -> None:
    blocks = [block(("base", [100]), ("candidate", [100]), candidate=SideFigures(load_ns=0, peak_rss_bytes=0))]
    with pytest.raises(ValueError, match=figure):
        compare(blocks, figure)


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -0.01])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance"):
        judge(ratios(0.0, 0.01), tolerance=tolerance)


def test_more_blocks_than_the_looks_are_made_for_are_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        compare([pair_of(100, 101)] * (MOST_BLOCKS + 1), "latency_p50")


def test_it_says_how_many_more_blocks_would_do() -> None:
    seen = compare(around(1.05, 0.05, 6), "latency_p50")
    assert seen.verdict == "inconclusive"
    assert seen.more_blocks is not None
    assert f"about {seen.more_blocks} more blocks" in seen.reasons[0]
    # As many of the same kind do settle it.
    assert compare(around(1.05, 0.05, 6 + seen.more_blocks + 5), "latency_p50").verdict == "fail"


def test_it_says_when_no_number_of_blocks_would_do() -> None:
    near = judge(ratios(*[0.0198 + 0.01 * (-1) ** index for index in range(20)]))
    assert near.more_blocks is None
    assert "too close" in near.reasons[0]
    wild = judge(ratios(*[0.3 * (-1) ** index for index in range(20)]))
    assert wild.more_blocks is None
    assert "blocks differ too much" in wild.reasons[0]


def throttling(slow_from: int) -> list[Block]:
    rng = random.Random(2)
    blocks = []
    for number in range(12):
        slow = 3.0 if number >= slow_from else 1.0
        base, candidate = (round(1e6 * slow * rng.uniform(0.9, 1.1)) for _ in range(2))
        blocks.append(pair_of(base, candidate))
    return blocks


def test_a_device_that_throttles_is_to_start_cooler() -> None:
    seen = compare(throttling(6), "latency_p50")
    assert seen.verdict == "inconclusive"
    assert "start cooler" in seen.reasons[0]
    assert seen.unrest is not None
    assert seen.unrest.drift > 1


def test_throttling_does_not_hide_what_turns_show() -> None:
    rng = random.Random(2)
    blocks = []
    for number in range(8):
        slow = 3.0 if number >= 4 else 1.0
        turns = [
            (("base", "candidate")[n % 2], [round(1e6 * slow * (1 + 0.1 * (n % 2)) * rng.gauss(1, 0.01)) for _ in range(10)])
            for n in range(12)
        ]
        blocks.append(block(*turns))
    seen = compare(blocks, "latency_p50")
    assert seen.verdict == "fail"
    assert seen.ratio == pytest.approx(1.1, abs=0.01)


def test_all_looks_together_miss_less_often_than_one_time_in_a_hundred() -> None:
    rng = np.random.default_rng(11)
    drawn = rng.normal(size=(20_000, MOST_BLOCKS))
    counts = np.arange(1, MOST_BLOCKS + 1)
    means = np.cumsum(drawn, axis=1) / counts
    deviations = np.sqrt((np.cumsum(drawn**2, axis=1) - counts * means**2)[:, 1:] / (counts[1:] - 1))
    t = means[:, 1:] / deviations * np.sqrt(counts[1:])
    looks = slice(LEAST_BLOCKS - 2, None)
    bounds = np.array([t_quantile(TAIL_PER_LOOK, count - 1) for count in counts[1:]])
    missed = (t > bounds)[:, looks].any(axis=1).mean()
    assert 0.006 < missed < 0.0115  # 0.0092, seen with a standard error of 0.0007


def test_twenty_blocks_take_no_time() -> None:
    rng = np.random.default_rng(1)
    blocks = [
        block(*[(("base", "candidate")[turn % 2], rng.integers(10**6, 2 * 10**6, 100).tolist()) for turn in range(20)])
        for _ in range(20)
    ]
    started = time.process_time()
    compare(blocks, "latency_p50")
    assert time.process_time() - started < 0.2


def test_the_types_are_frozen() -> None:
    turn = Turn(side="base", start_ns=0, latency_ns=(1,))
    with pytest.raises(AttributeError):
        turn.start_ns = 1  # type: ignore[misc]
