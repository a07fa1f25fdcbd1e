"""Compare: two artifacts on the devices of a target, block by block until the answer is clear (docs/measuring.md)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from edgedeploy.cache import Cache
from edgedeploy.deploy.signing import Signer
from edgedeploy.domain.comparison import Block, Figure, Side
from edgedeploy.domain.contest import Contender, Contest, Contests, Performance
from edgedeploy.domain.events import Sink
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.measurement import DeviceFacts
from edgedeploy.errors import DeviceError, EdgedeployError
from edgedeploy.runners.document import ProcessDocument
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.duel import Duel
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.facts import facts_of
from edgedeploy.stages.fight import Fight, Fought, Rules
from edgedeploy.stages.fleet import Fleet, Visit, on_each
from edgedeploy.stages.push import Payload, Terms, push
from edgedeploy.stages.reach import trusted_keys_of
from edgedeploy.stages.run_result import Ready
from edgedeploy.stats.comparison import compare

_MOST_ITERATIONS = 2000  # of one turn
_ROOM = 3  # of a model's size is what its process may need
_INFORMATION: tuple[Figure, ...] = ("latency_p50", "latency_p90", "latency_p99", "load", "peak_rss")
_DEPLOYED = "compare"


class Opponents(msgspec.Struct, frozen=True, kw_only=True):
    """Two prepared runs, and what the user called them. ``bounds`` take the place of the rules' own where there are some."""

    base: Ready
    candidate: Ready
    base_origin: str
    candidate_origin: str
    bounds: tuple[tuple[Figure, float], ...] = ()


def contest(
    fleet: Fleet, opponents: Sequence[Opponents], rules: Rules, cache: Cache, signer: Signer | None = None
) -> tuple[Contest, ...]:
    """Compare each two opponents on each device of the fleet, all devices at once, each leased meanwhile.

    What is deployed for that has a place of its own in the device's store: the project's releases are not touched.
    """
    finished: dict[tuple[str, int], Contest] = {}  # by device: one that goes away and comes back begins with the others

    def on_one(at: Visit) -> Contests:
        ring, device = _Ring(at, rules, cache, signer), at.device.name
        for number, pair in enumerate(opponents):
            if (device, number) not in finished:
                finished[device, number] = ring.contest(pair)
        return Contests(contests=tuple(finished[device, number] for number in range(len(opponents))))

    report = on_each(fleet, "", on_one, lease_for=f"compare {fleet.project}")
    found: list[Contest] = []
    for outcome in report.devices:
        if outcome.found is not None:
            found += outcome.found.contests
        elif outcome.error is not None:
            found += [
                finished.get((outcome.device, number)) or _failed(outcome.device, pair, outcome.error)
                for number, pair in enumerate(opponents)
            ]
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
        """What came of one comparison; a device that goes away is raised."""
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
        # Not until each process is steady: what is not is so on both sides, and a block would take up to ten seconds longer.
        own = pair.candidate.prepared.run.policy
        policy = msgspec.structs.replace(own, iterations=_MOST_ITERATIONS, warmup_seconds=0.0, min_seconds=0.0)
        with store.scratch() as scratch:
            base, candidate = (self._host.placed(payload, store.release_dir(release), scratch) for payload in payloads)
            before = facts_of(self._host.connection, self._host.probe, scratch)
            duel = Duel(base=base, candidate=candidate, policy=policy, turn_s=self._rules.turn_s)
            label = f"{pair.candidate.prepared.run.label} on {self._device.name}"
            has_room = _has_room(before, base, candidate)
            rules = replace(self._rules, bounds=pair.bounds or self._rules.bounds)
            fought = Fight(self._host.connection, duel, rules, self._sink, label, has_room=has_room).fight()
            after = facts_of(self._host.connection, self._host.probe, scratch)
        return _told(blank(self._device.name, pair), fought, self._rules, before, after)


def _has_room(facts: DeviceFacts, base: Placed, candidate: Placed) -> bool:
    """Whether both may be in memory at once; a device that does not say is trusted."""
    needed = _ROOM * (base.artifact.size_bytes + candidate.artifact.size_bytes)
    return facts.memory_available_bytes is None or facts.memory_available_bytes > needed


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


def _told(contest: Contest, fought: Fought, rules: Rules, before: DeviceFacts, after: DeviceFacts) -> Contest:
    found, deciding = fought.decided[0], {one.figure for one in fought.decided}
    return msgspec.structs.replace(
        contest,
        verdict=fought.verdict,
        reasons=fought.reasons,
        figure=found.figure,
        tolerance=found.tolerance,
        ratio=found.ratio,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        blocks=found.blocks,
        samples=found.samples,
        more_blocks=max((one.more_blocks for one in fought.decided if one.more_blocks), default=None),
        decided=fought.decided,
        others=tuple(compare(fought.blocks, figure) for figure in _INFORMATION if figure not in deciding),
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
