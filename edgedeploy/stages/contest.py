"""Compare: two artifacts on the devices of a target, block by block until the answer is clear (docs/measuring.md)."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from edgedeploy.cache import Cache
from edgedeploy.deploy.signing import Signer
from edgedeploy.domain.comparison import Block, Comparison, Figure, Side, SideFigures, Turn
from edgedeploy.domain.contest import Contender, Contest, Contests, Performance
from edgedeploy.domain.events import Finished, Note, Progress, Sink, Started
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.result import Failure
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import DeviceError, EdgedeployError, RunnerError
from edgedeploy.ports import Connection
from edgedeploy.runners.document import LanguageDocument, ProcessDocument, RunnerDocument
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.duel import Duel, NoTurnsError
from edgedeploy.stages.execute import Placed, execute
from edgedeploy.stages.fleet import Fleet, Visit, on_each
from edgedeploy.stages.measure import facts_of
from edgedeploy.stages.push import Payload, Terms, push
from edgedeploy.stages.reach import trusted_keys_of
from edgedeploy.stages.run_result import Ready
from edgedeploy.stages.talk import answer
from edgedeploy.stats.comparison import MOST_BLOCKS, TOLERANCE, compare
from edgedeploy.stats.schedule import schedule

_BLOCK_S = 5.0  # of turns; loading and warming up come on top
_FEWEST_PAIRS, _MOST_PAIRS = 2, 10
_MOST_ITERATIONS = 2000  # of one turn
_ROOM = 3  # of a model's size is what its process may need
_INFORMATION: tuple[Figure, ...] = ("latency_p50", "latency_p90", "latency_p99", "load", "peak_rss")
_DEPLOYED = "compare"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is compared, what is tolerated, how long it may take. A ``seed`` gives the same schedules again."""

    figure: Figure = "latency_p50"
    tolerance: float = TOLERANCE
    limit_s: float = 180.0
    turn_s: float = 0.05
    seed: int = 0


class Opponents(msgspec.Struct, frozen=True, kw_only=True):
    """Two prepared runs, and what the user called them."""

    base: Ready
    candidate: Ready
    base_origin: str
    candidate_origin: str


def contest(
    fleet: Fleet, opponents: Sequence[Opponents], rules: Rules, cache: Cache, signer: Signer | None = None
) -> tuple[Contest, ...]:
    """Compare each two opponents on each device of the fleet, all devices at once, each leased meanwhile.

    What is deployed for that has a place of its own in the device's store: the project's releases are not touched.
    """

    def on_one(at: Visit) -> Contests:
        return Contests(contests=tuple(_Ring(at, rules, cache, signer).contest(pair) for pair in opponents))

    report = on_each(fleet, "", on_one, lease_for=f"compare {fleet.project}")
    found: list[Contest] = []
    for outcome in report.devices:
        if outcome.found is not None:
            found += outcome.found.contests
        elif outcome.error is not None:
            found += [_failed(outcome.device, pair, outcome.error) for pair in opponents]
    return tuple(found)


class _Ring:
    """One device on which opponents meet."""

    def __init__(self, at: Visit, rules: Rules, cache: Cache, signer: Signer | None) -> None:
        fleet = at.fleet
        self._device = at.device
        self._rules = rules
        self._sink: Sink = fleet.sink
        self._signer = signer
        self._trusted = trusted_keys_of(at.device, fleet.target)
        self._project = f"{fleet.project}.{_DEPLOYED}"
        self._host = Aboard(connection=at.connection, device=at.device, target=fleet.target, cache=cache, sink=fleet.sink)

    def contest(self, pair: Opponents) -> Contest:
        """What came of one comparison. A device that goes away ends them all."""
        try:
            return self._contest(pair)
        except DeviceError:
            raise
        except EdgedeployError as error:
            return _failed(self._device.name, pair, Failure.of(error))

    def _contest(self, pair: Opponents) -> Contest:
        self._host.check_abi()
        payloads = [
            Payload(prepared=item.prepared, bundle=self._host.runner_for(item), attestations=item.attestations, under=f"{side}/")
            for side, item in (("base", pair.base), ("candidate", pair.candidate))
        ]
        store = self._host.store(self._project)
        terms = Terms(
            project=self._project,
            device=self._device.name,
            keep_releases=1,
            signer=self._signer,
            trusted_keys=self._trusted,
        )
        release, _ = push(store, payloads, terms, sink=self._sink, helper=self._host.device_helper)
        policy = msgspec.structs.replace(pair.candidate.prepared.run.policy, iterations=_MOST_ITERATIONS)
        with store.scratch() as scratch:
            base, candidate = (self._host.placed(payload, store.release_dir(release), scratch) for payload in payloads)
            before = facts_of(self._host.connection, self._host.probe, scratch)
            duel = Duel(base=base, candidate=candidate, policy=policy, turn_s=self._rules.turn_s)
            label = f"{pair.candidate.prepared.run.label} on {self._device.name}"
            fought = _Fight(
                self._host.connection, duel, self._rules, self._sink, label, _has_room(before, base, candidate)
            ).fight()
            after = facts_of(self._host.connection, self._host.probe, scratch)
        return _told(blank(self._device.name, pair), fought, self._rules, before, after)


@dataclass(frozen=True, kw_only=True)
class _Fought:
    """What a fight brought."""

    blocks: tuple[Block, ...]
    comparison: Comparison
    base: ProcessDocument
    candidate: ProcessDocument
    taking_turns: bool
    seconds: float


class _Fight:
    """Blocks, one after the other, until the answer is clear or the time is over."""

    def __init__(
        self,
        connection: Connection,
        duel: Duel,
        rules: Rules,
        sink: Sink,
        label: str,
        has_room: bool,  # noqa: FBT001
    ) -> None:
        self._connection = connection
        self._duel = duel
        self._rules = rules
        self._sink = sink
        self._label = label
        self._has_room = has_room
        self._rng = random.Random(rules.seed)  # noqa: S311 - an experiment's plan, not secrets

    def fight(self) -> _Fought:
        self._sink(Started(stage="compare", subject=self._label))
        began = time.monotonic()
        one_block, base, candidate = self._scouted()
        blocks: list[Block] = []
        while True:
            block_began = time.monotonic()
            blocks.append(one_block())
            found = compare(blocks, self._rules.figure, tolerance=self._rules.tolerance)
            self._tell(found)
            now = time.monotonic()
            out_of_time = now + (now - block_began) > began + self._rules.limit_s
            if found.verdict != "inconclusive" or out_of_time or len(blocks) == MOST_BLOCKS:
                break
        if found.verdict == "inconclusive" and out_of_time:
            found = msgspec.structs.replace(found, reasons=(*found.reasons, f"the {self._rules.limit_s:g} s were over"))
        self._sink(Finished(stage="compare", subject=self._label, cached=False, text=in_words(found)))
        return _Fought(
            blocks=tuple(blocks),
            comparison=found,
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
                slower_s = max(statistics.median(_latencies(document)) for document in (base, candidate)) / 1e9
                turn_s = max(1.1 * self._rules.turn_s, 2 * slower_s)
                self._pairs = max(_FEWEST_PAIRS, min(_MOST_PAIRS, int(_BLOCK_S / (2 * turn_s))))
                return self._in_turns, base, candidate
        else:
            text = "there is no room for two at once: one process after the other, which takes more of them"
            self._sink(Note(text=f"{self._duel.base.device}: {text}", level="warning"))
        return self._one_by_one, self._alone(self._duel.base), self._alone(self._duel.candidate)

    def _in_turns(self) -> Block:
        turns = schedule(self._pairs, seed=self._rng.getrandbits(32))
        letters = "".join("A" if side == "base" else "B" for side in turns)
        base, candidate = self._duel.fight(self._connection, letters)
        taken = {"base": iter(_turns_of(base)), "candidate": iter(_turns_of(candidate))}
        try:
            ordered = [(side, *next(taken[side])) for side in turns]
        except StopIteration:
            raise RunnerError("a runner took fewer turns than it was told", where=self._duel.base.device) from None
        return Block(
            turns=tuple(Turn(side=side, start_ns=start_ns, latency_ns=latency_ns) for side, start_ns, latency_ns in ordered),
            base=_figures(base),
            candidate=_figures(candidate),
        )

    def _one_by_one(self) -> Block:
        placed: dict[Side, Placed] = {"base": self._duel.base, "candidate": self._duel.candidate}
        turns, figures = [], {}
        for side in schedule(1, seed=self._rng.getrandbits(32)):
            start_ns = time.monotonic_ns()
            document = self._alone(placed[side])
            turns.append(Turn(side=side, start_ns=start_ns, latency_ns=_latencies(document)))
            figures[side] = _figures(document)
        return Block(turns=tuple(turns), base=figures["base"], candidate=figures["candidate"])

    def _alone(self, placed: Placed) -> ProcessDocument:
        policy: MeasurePolicy = msgspec.structs.replace(self._duel.policy, max_seconds=_BLOCK_S / 2)
        language = placed.artifact.language
        if language is not None:
            return answer(self._connection, placed, language, policy, language.prompts[:1], None)
        method, golden = placed.artifact.calls()[0]
        return execute(self._connection, placed, method, golden, policy)

    def _tell(self, found: Comparison) -> None:
        total = found.blocks + (found.more_blocks or 0)
        ratio = "" if found.ratio is None else f"{found.ratio:.3f} ({found.ci_low:.3f} to {found.ci_high:.3f})"
        self._sink(Progress(stage="compare", subject=self._label, done=found.blocks, total=total, text=ratio))


def _has_room(facts: DeviceFacts, base: Placed, candidate: Placed) -> bool:
    """Whether both may be in memory at once; a device that does not say is trusted."""
    needed = _ROOM * (base.artifact.size_bytes + candidate.artifact.size_bytes)
    return facts.memory_available_bytes is None or facts.memory_available_bytes > needed


def _turns_of(document: ProcessDocument) -> list[tuple[int, tuple[int, ...]]]:
    """When each turn began, and its latencies."""
    if isinstance(document, LanguageDocument):
        answers = document.generation[1:]  # the first was before all turns
        return [(turn.began_ns, answer.decode_ns) for turn, answer in zip(document.turns, answers, strict=False)]
    turns, at = [], 0
    latency_ns = document.latency_ns if isinstance(document, RunnerDocument) else ()
    for turn in document.turns:
        turns.append((turn.began_ns, latency_ns[at : at + turn.iterations]))
        at += turn.iterations
    return turns


def _latencies(document: ProcessDocument) -> tuple[int, ...]:
    if isinstance(document, LanguageDocument):
        return document.generation[-1].decode_ns
    return document.latency_ns if isinstance(document, RunnerDocument) else ()


def _figures(document: ProcessDocument) -> SideFigures:
    return SideFigures(load_ns=document.load_ns, peak_rss_bytes=document.peak_rss_bytes)


def _performance(document: ProcessDocument, side: Side, blocks: Sequence[Block]) -> Performance:
    figures = [block.base if side == "base" else block.candidate for block in blocks]
    latency_ns = [ns for block in blocks for turn in block.turns if turn.side == side for ns in turn.latency_ns]
    return Performance(
        runner=f"{document.runner.name} {document.runner.version}",
        engine=document.runner.engine,
        engine_version=document.runner.engine_version,
        threads=document.threads,
        latency_p50_ns=round(statistics.median(latency_ns)),
        load_ns=round(statistics.median(one.load_ns for one in figures)),
        peak_rss_bytes=round(statistics.median(one.peak_rss_bytes for one in figures)),
    )


def blank(device: str, pair: Opponents) -> Contest:
    """A contest of which nothing is known yet."""

    def contender(item: Ready, origin: str) -> Contender:
        run, artifact = item.prepared.run, item.prepared.artifact
        return Contender(
            origin=origin,
            model=run.model_name,
            recipe=run.recipe_name,
            lane=run.lane,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
        )

    return Contest(
        device=device,
        base=contender(pair.base, pair.base_origin),
        candidate=contender(pair.candidate, pair.candidate_origin),
        verdict="error",
    )


def _failed(device: str, pair: Opponents, error: Failure) -> Contest:
    return msgspec.structs.replace(blank(device, pair), reasons=(error.what,), error=error)


def _told(contest: Contest, fought: _Fought, rules: Rules, before: DeviceFacts, after: DeviceFacts) -> Contest:
    found = fought.comparison
    return msgspec.structs.replace(
        contest,
        verdict=found.verdict,
        reasons=found.reasons,
        figure=found.figure,
        tolerance=found.tolerance,
        ratio=found.ratio,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        blocks=found.blocks,
        samples=found.samples,
        more_blocks=found.more_blocks,
        others=tuple(compare(fought.blocks, figure) for figure in _INFORMATION if figure != rules.figure),
        base_performance=_performance(fought.base, "base", fought.blocks),
        candidate_performance=_performance(fought.candidate, "candidate", fought.blocks),
        taking_turns=fought.taking_turns,
        turn_s=rules.turn_s,
        seed=rules.seed,
        seconds=fought.seconds,
        before=before,
        after=after,
        measured=fought.blocks,
    )


def in_words(found: Comparison) -> str:
    """``pass: 1.003 (0.998 to 1.008) in 8 blocks``."""
    ratio = "" if found.ratio is None else f" {found.ratio:.3f} ({found.ci_low:.3f} to {found.ci_high:.3f})"
    return f"{found.verdict}:{ratio} in {found.blocks} blocks"
