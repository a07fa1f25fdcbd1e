"""Two artifacts on one device, block by block until the answer is clear (docs/measuring.md)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from edgedeploy.domain.artifact import Artifact
from edgedeploy.domain.comparison import Block, Comparison, Figure, Side
from edgedeploy.domain.contest import Contender, Contest, Performance
from edgedeploy.domain.events import Sink
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.domain.release import beside
from edgedeploy.errors import DeviceError, EdgedeployError, RunnerError, UsageError
from edgedeploy.ports import AppConnection
from edgedeploy.runners.document import LanguageDocument, ProcessDocument
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.clock import Clock
from edgedeploy.stages.deployed import Deployed, find_deployed
from edgedeploy.stages.duel import Duel, most_iterations
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.facts import facts_of
from edgedeploy.stages.fight import Fight, Fought, Rules, overall
from edgedeploy.stages.heal import healed
from edgedeploy.stages.push import Payload, Terms, push
from edgedeploy.stages.run_result import Ready
from edgedeploy.stages.same_work import require_same_work, same_outputs
from edgedeploy.stages.start_gate import Gate
from edgedeploy.stats.comparison import compare

_ROOM = 3  # of a model's size is what its process may need
_INFORMATION: tuple[Figure, ...] = ("latency_p50", "latency_p90", "latency_p99", "load", "peak_rss")
_OF_LANGUAGE: tuple[Figure, ...] = ("latency_mean", "ttft")
_DEPLOYED = "compare"
_SAME_FILE = "the same file"


class Opponents(msgspec.Struct, frozen=True, kw_only=True):
    """Two prepared runs, and what the user called them; ``base`` may be what a release on the device has.

    ``bounds``, those of a gate, take the place of the rules' own where they are given: with none, nothing is run. ``size`` is by
    what fraction the candidate's files may be larger; None: they are not judged. Where they are larger, nothing is run.
    """

    base: Ready | Deployed
    candidate: Ready
    base_origin: str
    candidate_origin: str
    bounds: tuple[tuple[Figure, float], ...] | None = None
    size: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ring:
    """A device on which opponents meet. What is deployed for that has a place of its own in its store: no release is touched."""

    host: Aboard
    terms: Terms
    rules: Rules
    sink: Sink

    def contest(self, pair: Opponents) -> Contest:
        """What came of one comparison; a device that goes away is raised."""
        try:
            return self._contest(pair)
        except DeviceError:
            raise
        except EdgedeployError as error:
            return failed_contest(self.terms.device, pair, Failure.of(error))

    def _contest(self, pair: Opponents) -> Contest:
        base = self._found(pair)
        sizes = _sizes(base, pair.candidate, pair.size)
        bounds = self.rules.bounds if pair.bounds is None else pair.bounds
        told = _between(self.terms.device, pair, base)
        if pair.bounds is not None and told.base.sha256 == told.candidate.sha256:  # a gate; who compares the same wants to see it
            return msgspec.structs.replace(told, verdict="pass", reasons=(_SAME_FILE,))
        if not bounds or "fail" in {one.verdict for one in sizes}:
            return _decided(told, sizes, ())
        artifacts = base.prepared.artifact, pair.candidate.prepared.artifact
        self._require_comparable(*artifacts, bounds)
        payloads = [
            Payload(prepared=item.prepared, bundle=self.host.runner_for(item), attestations=item.attestations, under=f"{side}/")
            for side, item in (("base", base), ("candidate", pair.candidate))
        ]
        # What was compared before stays there, so that it is not sent again; but what nobody signed would be in the way.
        alone = bool(self.terms.trusted_keys)
        terms = replace(self.terms, project=beside(self.terms.project, _DEPLOYED), keep_releases=1, alone=alone)
        store = self.host.store(terms.project)
        release, _ = push(store, payloads, terms, sink=self.sink, helper=self.host.device_helper)
        # Not until each process is steady: what is not is so on both sides, and a block would take up to ten seconds longer.
        own = pair.candidate.prepared.run.policy
        iterations = most_iterations(self.rules.turn_s)
        policy = msgspec.structs.replace(own, iterations=iterations, warmup_seconds=0.0, min_seconds=0.0)
        with store.scratch() as scratch:
            one, other = (self.host.placed(payload, store.release_dir(release), scratch) for payload in payloads)
            label = f"{pair.candidate.prepared.run.label} on {self.terms.device}"
            start = Gate(self.host.connection, self.host.probe, own, self.sink, label).wait()
            before = facts_of(self.host.connection, self.host.probe, scratch)
            clock = Clock(self.host.connection, scratch, own)
            duel = Duel(base=one, candidate=other, policy=policy, turn_s=self.rules.turn_s)
            has_room = _has_room(before, one, other)
            rules = replace(self.rules, bounds=bounds)
            fight = partial(Fight, clock, duel, rules, self.sink, label, has_room=has_room)
            try:
                fought = fight().fight()
            except RunnerError:
                if not healed(store, payloads, self.sink, self.terms.device):
                    raise
                fought = fight().fight()
            after = facts_of(self.host.connection, self.host.probe, scratch)
            held = clock.said(self.sink, self.terms.device)
        found = _told(told, fought, sizes, rules, before, after)
        same = same_outputs(*artifacts, (fought.base, fought.candidate))
        return msgspec.structs.replace(found, same_outputs=same, start=start, fixed_clock=held)

    def _require_comparable(self, base: Artifact, candidate: Artifact, bounds: tuple[tuple[Figure, float], ...]) -> None:
        """Refuse what cannot be compared here, before anything is sent."""
        where = f"device {self.terms.device}"
        if isinstance(self.host.connection, AppConnection):
            raise UsageError(
                "nothing can be compared on this device: our app there takes no turns",
                where=where,
                next_step="push both and see `edgedeploy history`, or compare on another device: --device NAME",
            )
        require_same_work(base, candidate)
        if candidate.language is None and "ttft" in dict(bounds):
            raise UsageError(
                "only a language model has a time to first token",
                where=where,
                seen=f"ttft of {candidate.model}",
                next_step="choose another figure",
            )

    def _found(self, pair: Opponents) -> Ready:
        """The base, wherever it is."""
        if isinstance(pair.base, Ready):
            return pair.base
        project, trusted = self.terms.project, self.terms.trusted_keys
        store = self.host.store(project)
        return find_deployed(store, project, pair.base, pair.candidate, trusted=trusted, device=self.terms.device)


def _sizes(one: Ready, other: Ready, tolerance: float | None) -> tuple[Comparison, ...]:
    """The two artifacts' sizes, where they are judged: exact, so that there is nothing to be unsure of."""
    if tolerance is None:
        return ()
    base, candidate = (item.prepared.artifact.size_bytes for item in (one, other))
    ratio = candidate / base
    larger = ratio > 1 + tolerance
    return (
        Comparison(
            figure="size",
            verdict="fail" if larger else "pass",
            tolerance=tolerance,
            ratio=ratio,
            ci_low=ratio,
            ci_high=ratio,
            confidence=1.0,
            blocks=0,
            samples=2,
            reasons=(f"{candidate:,} bytes instead of {base:,}",) if larger else (),
        ),
    )


def _has_room(facts: DeviceFacts, base: Placed, candidate: Placed) -> bool:
    """Whether both may be in memory at once; a device that does not say is trusted."""
    needed = _ROOM * (base.artifact.size_bytes + candidate.artifact.size_bytes)
    return facts.memory_available_bytes is None or facts.memory_available_bytes > needed


def _performance(document: ProcessDocument, side: Side, blocks: Sequence[Block]) -> Performance:
    figures = [block.base if side == "base" else block.candidate for block in blocks]
    turns = [turn for block in blocks for turn in block.turns if turn.side == side]
    latency_ns = [ns for turn in turns for ns in turn.latency_ns]
    ttft_ns = [turn.ttft_ns for turn in turns if turn.ttft_ns is not None]
    return Performance(
        runner=f"{document.runner.name} {document.runner.version}",
        engine=document.runner.engine,
        engine_version=document.runner.engine_version,
        threads=document.threads,
        latency_p50_ns=round(statistics.median(latency_ns)),
        load_ns=round(statistics.median(one.load_ns for one in figures)),
        peak_rss_bytes=round(statistics.median(one.peak_rss_bytes for one in figures)),
        ttft_ns=round(statistics.median(ttft_ns)) if ttft_ns else None,
        decode_tokens_per_s=round(1e9 / statistics.fmean(latency_ns), 3) if ttft_ns else None,
    )


def blank(device: str, pair: Opponents) -> Contest:
    """A contest of which nothing is known yet."""
    return _between(device, pair, pair.base if isinstance(pair.base, Ready) else None)


def _between(device: str, pair: Opponents, base: Ready | None) -> Contest:
    """Who meets; of a base that was not found there is no digest."""
    candidate = _contender(pair.candidate, pair.candidate_origin)
    unknown = msgspec.structs.replace(candidate, origin=pair.base_origin, sha256="", size_bytes=0)
    return Contest(
        device=device,
        base=_contender(base, pair.base_origin) if base else unknown,
        candidate=candidate,
        verdict="error",
    )


def _contender(item: Ready, origin: str) -> Contender:
    run, artifact = item.prepared.run, item.prepared.artifact
    return Contender(
        origin=origin,
        model=run.model_name,
        recipe=run.recipe_name,
        lane=run.lane,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
    )


def failed_contest(device: str, pair: Opponents, error: Failure) -> Contest:
    """A contest that could not be held."""
    return msgspec.structs.replace(blank(device, pair), reasons=(error.what,), error=error)


def _told(
    contest: Contest, fought: Fought, sizes: tuple[Comparison, ...], rules: Rules, before: DeviceFacts, after: DeviceFacts
) -> Contest:
    deciding = {one.figure for one in fought.decided}
    told = _INFORMATION + (_OF_LANGUAGE if isinstance(fought.base, LanguageDocument) else ())
    return msgspec.structs.replace(
        _decided(contest, (*fought.decided, *sizes), fought.reasons),
        others=tuple(compare(fought.blocks, figure) for figure in told if figure not in deciding),
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


def _decided(contest: Contest, decided: tuple[Comparison, ...], reasons: tuple[str, ...]) -> Contest:
    first = decided[0]
    of_size = tuple(f"{one.figure}: {reason}" for one in decided if one.figure == "size" for reason in one.reasons)
    return msgspec.structs.replace(
        contest,
        verdict=overall(decided),
        reasons=(*reasons, *of_size),
        ratio=first.ratio,
        ci_low=first.ci_low,
        ci_high=first.ci_high,
        blocks=first.blocks,
        samples=first.samples,
        decided=decided,
    )
