"""Delivers prepared runs to devices: push, measure and judge on each, all devices at once, each with a verdict of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec

from edgedeploy.cache import Cache
from edgedeploy.deploy.lease_keeper import claim
from edgedeploy.deploy.signing import Signer
from edgedeploy.deploy.store import Store
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Sink
from edgedeploy.domain.failure import Failure
from edgedeploy.domain.project import DEFAULT_PATIENCE, KEEP_RELEASES, Patience
from edgedeploy.domain.result import PushStats, RunResult
from edgedeploy.domain.target import Target
from edgedeploy.domain.verdict import Verdict
from edgedeploy.errors import DeviceError, EdgedeployError, RunnerError
from edgedeploy.fanout import at_once
from edgedeploy.stages.aboard import Aboard
from edgedeploy.stages.auto import best
from edgedeploy.stages.fight import Rules
from edgedeploy.stages.heal import healed
from edgedeploy.stages.judge import judge
from edgedeploy.stages.measure import measure
from edgedeploy.stages.push import Payload, Tally, Terms, push
from edgedeploy.stages.reach import Attempts, Open, trusted_keys_of
from edgedeploy.stages.ring import Opponents, Ring, failed_contest
from edgedeploy.stages.run_result import Ready, blank_run, failed_run, gated_run, measured_run, with_artifact

_AT_ONCE = 8


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What goes where. ``measured`` false only deploys. ``opponents`` has by its folder what a run is gated by."""

    project: str
    target: Target
    ready: tuple[Ready, ...]
    measured: bool
    keep_releases: int = KEEP_RELEASES
    signer: Signer | None = None
    patience: Patience = DEFAULT_PATIENCE
    opponents: dict[str, Opponents] = {}


def deliver(
    delivery: Delivery, devices: Sequence[Device], cache: Cache, sink: Sink, *, keep: Callable[[RunResult], None]
) -> tuple[RunResult, ...]:
    """One result per prepared run and device, grouped by device. A device that fails does not hold up another.

    ``keep`` gets each result as soon as it is there, never two at once.
    """
    opened = Open()
    lock = threading.Lock()

    def all_of(device: Device) -> list[RunResult]:
        results = []
        for result in _deliver_to(device, delivery, cache, sink, opened):
            with lock:
                # What Ctrl-C broke off is no failure of the device; what was measured before that is kept, its gate broken off.
                if not opened.stopped or result.latency_ns is not None:
                    keep(result)
            results.append(result)
        return results

    jobs = [partial(all_of, device) for device in devices]
    return tuple(chain.from_iterable(at_once(jobs, limit=_AT_ONCE, stop=opened.close_all)))


def _deliver_to(device: Device, delivery: Delivery, cache: Cache, sink: Sink, opened: Open) -> Iterator[RunResult]:
    """Results of one device. What breaks the device breaks the rest of its runs; what breaks a run, that run.

    A device that went away is waited for, and goes on where it was. What was measured is not lost with its gate.
    """
    target = delivery.target
    done: set[str] = set()
    claimed = claim(f"push {delivery.project}", wait_s=delivery.patience.wait_s)
    attempts = Attempts(device, opened, sink, retry_for_s=delivery.patience.retry_for_s)
    so_far = _SoFar(attempts)

    def left() -> tuple[Ready, ...]:
        return tuple(item for item in delivery.ready if item.prepared.run.folder not in done)

    while left():
        try:
            with opened.connection(device) as connection:
                lease = partial(opened.lease, connection, device, target, claimed, sink)
                rest = msgspec.structs.replace(delivery, ready=left())
                host = Aboard(connection=connection, device=device, target=target, cache=cache, sink=sink)
                session = _Session(host, device, rest, sink, lease, so_far)
                for item, result in session.results():
                    done.add(item.prepared.run.folder)
                    attempts.got_something_done()
                    yield result
        except EdgedeployError as error:
            try:
                attempts.wait_after(error)
            except EdgedeployError as final:
                for item in left():
                    run = item.prepared.run
                    if run.folder in so_far.measured:
                        lost = failed_contest(device.name, delivery.opponents[run.folder], Failure.of(final))
                        yield gated_run(so_far.measured[run.folder], lost)
                    else:
                        yield with_artifact(failed_run(run, delivery.project, target.name, device.name, final), item)
                return


class _SoFar:
    """What one device has got done, over whichever connection. ``measured`` has by its folder what only lacks its gate."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self.tally = Tally(moved=attempts.got_something_done)
        self.measured: dict[str, RunResult] = {}

    def has_measured(self, folder: str, result: RunResult) -> None:
        """This is not to be measured again."""
        self.measured[folder] = result
        self._attempts.got_something_done()


class _Session:
    """One device, connected: what it is, which runner each run takes there, then push, then one run after the other."""

    def __init__(
        self,
        host: Aboard,
        device: Device,
        delivery: Delivery,
        sink: Sink,
        lease: Callable[[], AbstractContextManager[None]],
        so_far: _SoFar,
    ) -> None:
        self._host = host
        self._device = device
        self._delivery = delivery
        self._sink = sink
        self._lease = lease
        self._so_far = so_far

    def results(self) -> Iterator[tuple[Ready, RunResult]]:
        self._host.check_abi()
        payloads: list[tuple[Ready, Payload]] = []
        for item in self._delivery.ready:
            try:
                payload = Payload(prepared=item.prepared, bundle=self._host.runner_for(item), attestations=item.attestations)
                payloads.append((item, payload))
            except EdgedeployError as error:
                yield item, self._failed(item, error)
        if not payloads:
            return
        with self._lease():
            yield from self._pushed_and_measured(payloads)

    def _pushed_and_measured(self, payloads: Sequence[tuple[Ready, Payload]]) -> Iterator[tuple[Ready, RunResult]]:
        store = self._host.store(self._delivery.project)
        release, figures = push(
            store,
            [payload for _, payload in payloads],
            self._terms(),
            sink=self._sink,
            tally=self._so_far.tally,
            helper=self._host.device_helper,
        )
        candidates: dict[tuple[str, str], list[tuple[Ready, RunResult]]] = {}
        for (item, payload), stats in zip(payloads, figures, strict=True):
            result = self._before_its_gate(item, payload, stats, store, release)
            run = item.prepared.run
            if run.automatic and run.folder in self._delivery.opponents:
                candidates.setdefault((run.model_name, run.recipe_name), []).append((item, result))
            else:
                yield item, self._gated(item, result)
        for tried in candidates.values():  # what will be passed over needs no gate, which may take minutes
            chosen = best([result for _, result in tried])
            for item, result in tried:
                yield item, self._gated(item, result) if chosen is None or chosen is result else result

    def _terms(self) -> Terms:
        return Terms(
            project=self._delivery.project,
            device=self._device.name,
            keep_releases=self._delivery.keep_releases,
            signer=self._delivery.signer,
            trusted_keys=trusted_keys_of(self._device, self._delivery.target),
        )

    def _before_its_gate(self, item: Ready, payload: Payload, stats: PushStats, store: Store, release: int) -> RunResult:
        if not self._delivery.measured:
            return self._with_push(item, stats, Verdict(status="unmeasured", reasons=("deployed, not measured",)))
        folder = item.prepared.run.folder
        result = self._so_far.measured.get(folder) or self._measured(item, payload, stats, store, release)
        if folder in self._delivery.opponents and result.error is None:
            self._so_far.has_measured(folder, result)
        return result

    def _gated(self, item: Ready, result: RunResult) -> RunResult:
        opponents = self._delivery.opponents.get(item.prepared.run.folder)
        if opponents is None or result.error is not None:
            return result
        ring = Ring(host=self._host, terms=self._terms(), rules=Rules(), sink=self._sink)
        return gated_run(result, ring.contest(opponents))

    def _measured(self, item: Ready, payload: Payload, stats: PushStats, store: Store, release: int) -> RunResult:
        run, artifact = item.prepared.run, item.prepared.artifact
        base = store.release_dir(release)
        try:
            with store.scratch() as scratch:
                placed = self._host.placed(payload, base, scratch)
                folder = Path(item.prepared.folder)
                try:
                    found = measure(self._host.connection, placed, run.policy, folder, self._host.probe, self._sink)
                except RunnerError:
                    if not healed(store, [payload], self._sink, self._device.name):
                        raise
                    found = measure(self._host.connection, placed, run.policy, folder, self._host.probe, self._sink)
        except DeviceError:
            raise
        except EdgedeployError as error:
            return msgspec.structs.replace(self._failed(item, error), push=stats)
        cache_bytes = artifact.language.kv_cache_bytes if artifact.language else 0
        return measured_run(self._with_push(item, stats, judge(run, artifact, found)), found, cache_bytes)

    def _with_push(self, item: Ready, stats: PushStats, verdict: Verdict) -> RunResult:
        blank = blank_run(item.prepared.run, self._delivery.project, self._delivery.target.name, self._device.name)
        return with_artifact(msgspec.structs.replace(blank, push=stats, verdict=verdict), item)

    def _failed(self, item: Ready, error: EdgedeployError) -> RunResult:
        target, device = self._delivery.target.name, self._device.name
        return with_artifact(failed_run(item.prepared.run, self._delivery.project, target, device, error), item)
