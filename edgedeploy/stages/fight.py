"""Two artifacts against each other on one device: block by block, until the answer is clear or the time is over."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from edgedeploy.domain.comparison import Block, Comparison, Conclusion, Figure, Side, SideFigures, Turn
from edgedeploy.domain.events import Finished, Note, Progress, Sink, Started
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError, UsageError
from edgedeploy.ports import Connection
from edgedeploy.runners.document import LanguageDocument, ProcessDocument, RunnerDocument
from edgedeploy.stages.duel import Duel, NoTurnsError
from edgedeploy.stages.execute import Placed, execute
from edgedeploy.stages.talk import answer
from edgedeploy.stats.comparison import LEAST_BLOCKS, MOST_BLOCKS, TOLERANCE, compare
from edgedeploy.stats.schedule import schedule

_BLOCK_S = 5.0  # of turns; loading and warming up come on top
_FEWEST_PAIRS, _MOST_PAIRS = 2, 10
_SHORT_TURN_S = 0.1  # of a longer one somebody expects its length


def _any_seed() -> int:
    return random.SystemRandom().getrandbits(31)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What decides, with what is tolerated of each; how long it may take. The same ``seed`` gives the same schedules."""

    bounds: tuple[tuple[Figure, float], ...] = (("latency_p50", TOLERANCE),)
    limit_s: float = 180.0
    turn_s: float = 0.05
    seed: int = field(default_factory=_any_seed)

    def __post_init__(self) -> None:
        """Refuse what leaves no time for a single block, behind one turn of each."""
        if (1 + _FEWEST_PAIRS) * 2 * self.turn_s > self.limit_s:
            raise _no_time_for_a_block(2 * _FEWEST_PAIRS * self.turn_s, 2 * self.turn_s, self.limit_s)


@dataclass(frozen=True, kw_only=True)
class Fought:
    """What a fight brought: its blocks, what they say of each figure that decides, the documents of each side's first process."""

    blocks: tuple[Block, ...]
    verdict: Conclusion
    decided: tuple[Comparison, ...]
    reasons: tuple[str, ...]
    base: ProcessDocument
    candidate: ProcessDocument
    taking_turns: bool
    seconds: float


class Fight:
    """Blocks, one after the other, until the answer is clear or the time is over."""

    def __init__(
        self,
        connection: Connection,
        duel: Duel,
        rules: Rules,
        sink: Sink,
        label: str,
        *,
        has_room: bool,
    ) -> None:
        self._connection = connection
        self._duel = duel
        self._rules = rules
        self._sink = sink
        self._label = label
        self._has_room = has_room
        self._pairs = _FEWEST_PAIRS
        self._turn_s = rules.turn_s
        self._rng = random.Random(rules.seed)  # noqa: S311 - an experiment's plan, not secrets

    def fight(self) -> Fought:
        """Fight it out.

        Raises:
            RunnerError: one side cannot be run.
            UsageError: there is no time for a single block.
            DeviceLostError: the device went away.
        """
        self._sink(Started(stage="compare", subject=self._label))
        began = time.monotonic()
        one_block, base, candidate = self._scouted()
        self._fit_into_the_rest(time.monotonic() - began, in_turns=one_block == self._in_turns)
        blocks: list[Block] = []
        while True:
            block_began = time.monotonic()
            blocks.append(one_block())
            found = self._looked_at(blocks)
            verdict = overall(found)
            self._tell(found)
            now = time.monotonic()
            out_of_time = now + (now - block_began) > began + self._rules.limit_s
            if verdict != "inconclusive" or out_of_time or len(blocks) == MOST_BLOCKS:
                break
        reasons = _reasons(found)
        if verdict == "inconclusive" and out_of_time:
            reasons = (*reasons, f"the {self._rules.limit_s:g} s were over")
        text = f"{verdict}: {_ratios(found)} in {len(blocks)} blocks"
        self._sink(Finished(stage="compare", subject=self._label, cached=False, text=text))
        return Fought(
            blocks=tuple(blocks),
            verdict=verdict,
            decided=found,
            reasons=reasons,
            base=base,
            candidate=candidate,
            taking_turns=one_block == self._in_turns,
            seconds=round(now - began, 3),
        )

    def _scouted(self) -> tuple[Callable[[], Block], ProcessDocument, ProcessDocument]:
        """One turn of each that does not count: whether both run, how fast, and so how a block is made."""
        if self._has_room:
            try:
                base, candidate = self._duel.fight(self._connection, "AB")
            except NoTurnsError as error:
                self._sink(
                    Note(text=f"{self._duel.base.device}: {error.what} ({error.seen}); one after the other", level="warning")
                )
            else:
                self._turn_s = max(self._seconds_of_a_turn(document) for document in (base, candidate))
                self._tell_of_short_turns(base, candidate)
                self._pairs = max(_FEWEST_PAIRS, min(_MOST_PAIRS, int(_BLOCK_S / (2 * self._turn_s))))
                return self._in_turns, base, candidate
        else:
            text = "there is no room for two at once: one process after the other, which takes more of them"
            self._sink(Note(text=f"{self._duel.base.device}: {text}", level="warning"))
        return self._one_by_one, self._alone(self._duel.base), self._alone(self._duel.candidate)

    def _fit_into_the_rest(self, scouted_s: float, *, in_turns: bool) -> None:
        """Fewer turns in a block where more would take longer than there is time.

        Raises:
            UsageError: there is no time for a single block.
        """
        pair_s = 2 * self._turn_s if in_turns else 0.0
        around_s = max(0.0, scouted_s - pair_s)  # both were loaded, and a pair of turns was taken
        left_s = self._rules.limit_s - scouted_s
        least_s = around_s + _FEWEST_PAIRS * pair_s
        if least_s > left_s:
            raise _no_time_for_a_block(least_s, scouted_s, self._rules.limit_s)
        if in_turns:
            self._pairs = max(_FEWEST_PAIRS, min(self._pairs, int((left_s - around_s) / pair_s)))

    def _tell_of_short_turns(self, *scouted: ProcessDocument) -> None:
        """Where a turn ended before its time, as more iterations of it are not kept."""
        most = self._duel.policy.iterations
        cut = [one for one in scouted if isinstance(one, RunnerDocument) and len(one.latency_ns) >= most]
        if cut and self._rules.turn_s > _SHORT_TURN_S:
            text = f"turns end after {most:,} iterations, about {self._turn_s:.2g} s, and not after {self._rules.turn_s:g} s"
            self._sink(Note(text=f"{self._label}: {text}"))

    def _seconds_of_a_turn(self, document: ProcessDocument) -> float:
        """How long a turn takes, by one that was taken: a whole answer, or its iterations and the untimed ones before."""
        if isinstance(document, LanguageDocument):
            answer = document.generation[-1]
            return (answer.ttft_ns + sum(answer.decode_ns)) / 1e9
        latency_ns = _latencies(document)
        return max(0.1 * self._rules.turn_s, statistics.median(latency_ns) / 1e9) + sum(latency_ns) / 1e9

    def _in_turns(self) -> Block:
        turns = schedule(self._pairs, seed=self._rng.getrandbits(32))
        letters = "".join("A" if side == "base" else "B" for side in turns)
        base, candidate = self._duel.fight(self._connection, letters, known_turn_s=self._turn_s)
        taken = {"base": iter(_turns_of(base, "base")), "candidate": iter(_turns_of(candidate, "candidate"))}
        try:
            ordered = [next(taken[side]) for side in turns]
        except StopIteration:
            raise RunnerError("a runner took fewer turns than it was told", where=self._duel.base.device) from None
        return Block(
            turns=tuple(ordered),
            base=figures_of(base),
            candidate=figures_of(candidate),
        )

    def _one_by_one(self) -> Block:
        placed: dict[Side, Placed] = {"base": self._duel.base, "candidate": self._duel.candidate}
        turns, figures = [], {}
        for side in schedule(1, seed=self._rng.getrandbits(32)):
            start_ns = time.monotonic_ns()
            document = self._alone(placed[side])
            ttft_ns = document.generation[-1].ttft_ns if isinstance(document, LanguageDocument) else None
            turns.append(Turn(side=side, start_ns=start_ns, latency_ns=_latencies(document), ttft_ns=ttft_ns))
            figures[side] = figures_of(document)
        return Block(turns=tuple(turns), base=figures["base"], candidate=figures["candidate"])

    def _alone(self, placed: Placed) -> ProcessDocument:
        policy: MeasurePolicy = msgspec.structs.replace(self._duel.policy, max_seconds=_BLOCK_S / 2)
        language = placed.artifact.language
        if language is not None:
            return answer(self._connection, placed, language, policy, language.prompts[:1], None)
        method, golden = placed.artifact.calls()[0]
        return execute(self._connection, placed, method, golden, policy)

    def _looked_at(self, blocks: list[Block]) -> tuple[Comparison, ...]:
        bounds = self._rules.bounds
        try:
            return tuple(compare(blocks, figure, tolerance=tolerance, together=len(bounds)) for figure, tolerance in bounds)
        except ValueError as error:
            raise RunnerError(
                "what was measured cannot be true",
                where=self._duel.base.device,
                seen=str(error),
                next_step="the device's clock went back, or is too coarse for a model that is so fast",
            ) from error

    def _tell(self, found: tuple[Comparison, ...]) -> None:
        done = found[0].blocks
        total = done + max(one.more_blocks or 0 for one in found)
        self._sink(Progress(stage="compare", subject=self._label, done=done, total=total, text=_ratios(found)))


def _no_time_for_a_block(block_s: float, before_s: float, limit_s: float) -> UsageError:
    enough_s = math.ceil(1.5 * (before_s + LEAST_BLOCKS * block_s))
    return UsageError(
        "there is no time for a single block of turns",
        where=f"{limit_s:g} s in all",
        seen=f"one takes about {block_s:.3g} s, and what comes before it {before_s:.3g} s",
        next_step=f"compare or gate with --max-seconds {enough_s}, for {LEAST_BLOCKS} blocks; or with shorter --turn-seconds",
    )


def overall(found: tuple[Comparison, ...]) -> Conclusion:
    """Fail where one fails, pass where all pass."""
    verdicts = {one.verdict for one in found}
    if "fail" in verdicts:
        return "fail"
    return "inconclusive" if "inconclusive" in verdicts else "pass"


def _reasons(found: tuple[Comparison, ...]) -> tuple[str, ...]:
    if len(found) == 1:
        return found[0].reasons
    return tuple(f"{one.figure}: {reason}" for one in found for reason in one.reasons)


def _ratios(found: tuple[Comparison, ...]) -> str:
    """``1.003 (0.998 to 1.008)``, with the figures' names where there are several."""
    return found[0].interval if len(found) == 1 else ", ".join(f"{one.figure} {one.interval}" for one in found)


def _turns_of(document: ProcessDocument, side: Side) -> list[Turn]:
    """Those that one process took."""
    if isinstance(document, LanguageDocument):
        answers = document.generation[1:]  # the first was before all turns
        return [
            Turn(side=side, start_ns=turn.began_ns, latency_ns=answer.decode_ns, ttft_ns=answer.ttft_ns)
            for turn, answer in zip(document.turns, answers, strict=False)
        ]
    turns, at = [], 0
    latency_ns = document.latency_ns if isinstance(document, RunnerDocument) else ()
    for turn in document.turns:
        turns.append(Turn(side=side, start_ns=turn.began_ns, latency_ns=latency_ns[at : at + turn.iterations]))
        at += turn.iterations
    return turns


def _latencies(document: ProcessDocument) -> tuple[int, ...]:
    if isinstance(document, LanguageDocument):
        return document.generation[-1].decode_ns
    return document.latency_ns if isinstance(document, RunnerDocument) else ()


def figures_of(document: ProcessDocument) -> SideFigures:
    """What a process has one figure of."""
    return SideFigures(load_ns=document.load_ns, peak_rss_bytes=document.peak_rss_bytes)
