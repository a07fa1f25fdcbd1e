"""Delivers prepared runs to devices: push, measure and judge on each, all devices at once, each with a verdict of its own."""

from __future__ import annotations

import datetime as dt
import secrets
import statistics
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import msgspec

from edgedeploy import registry
from edgedeploy.cache import Cache
from edgedeploy.deploy.store import Store
from edgedeploy.domain.delegation import delegation_of
from edgedeploy.domain.device import Device
from edgedeploy.domain.events import Note, Sink
from edgedeploy.domain.measurement import Measurement, ProcessSamples
from edgedeploy.domain.release import RunnerBundle
from edgedeploy.domain.result import (
    ArtifactSummary,
    Failure,
    GenerationSummary,
    Latency,
    PushStats,
    RunResult,
    Seconds,
    Sizes,
    Verification,
)
from edgedeploy.domain.target import Abi, Os, Target
from edgedeploy.domain.verdict import Verdict
from edgedeploy.errors import DeviceError, DeviceLostError, DeviceUnavailableError, EdgedeployError, RunnerError
from edgedeploy.fanout import at_once
from edgedeploy.host import host_abi, host_os
from edgedeploy.ports import Connection, Probe
from edgedeploy.stages.execute import Placed
from edgedeploy.stages.export import Prepared
from edgedeploy.stages.judge import judge
from edgedeploy.stages.measure import facts_of, measure
from edgedeploy.stages.plan import PlannedRun
from edgedeploy.stages.progress import emitter
from edgedeploy.stages.push import Payload, push
from edgedeploy.stages.runner_choice import choose, python_facts_of
from edgedeploy.stats import quantile

_AT_ONCE = 8


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared run that was verified on this machine, or cannot be.

    ``runner``, where a bundle brought one, is for devices of ``runner_abi``, and is taken before any other there.
    """

    prepared: Prepared
    host: Verification
    runner: RunnerBundle | None = None
    runner_abi: Abi | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What goes where. ``measured`` false only deploys."""

    project: str
    target: Target
    ready: tuple[Ready, ...]
    measured: bool


def deliver(
    delivery: Delivery, devices: Sequence[Device], cache: Cache, sink: Sink, *, keep: Callable[[RunResult], None]
) -> tuple[RunResult, ...]:
    """One result per prepared run and device, grouped by device. A device that fails does not hold up another.

    ``keep`` gets each result as soon as it is there, never two at once.
    """
    opened = _Open()
    lock = threading.Lock()

    def all_of(device: Device) -> list[RunResult]:
        results = []
        for result in _deliver_to(device, delivery, cache, sink, opened):
            with lock:
                if not opened.stopped:  # what Ctrl-C broke off is no failure of the device
                    keep(result)
            results.append(result)
        return results

    jobs = [partial(all_of, device) for device in devices]
    return tuple(chain.from_iterable(at_once(jobs, limit=_AT_ONCE, stop=opened.close_all)))


def failed_run(run: PlannedRun, project: str, target: str, device: str, error: EdgedeployError) -> RunResult:
    """The result of a run that could not be carried out."""
    return msgspec.structs.replace(
        _blank(run, project, target, device),
        verdict=Verdict(status="error", reasons=(error.what,)),
        error=Failure.of(error),
    )


def undelivered(ready: Ready, project: str, target: str, reason: str) -> RunResult:
    """The result of a run that was exported and goes to no device now."""
    blank = _blank(ready.prepared.run, project, target, "")
    return with_artifact(msgspec.structs.replace(blank, verdict=Verdict(status="unmeasured", reasons=(reason,))), ready)


class _Open:
    """The connections that are open, so that all of them can be closed from outside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self.stopped = False

    @contextmanager
    def connection(self, device: Device) -> Iterator[Connection]:
        opened = registry.transport(device.transport).connect(device)
        with self._lock:
            self._connections.append(opened)
            stopped = self.stopped
        try:
            if stopped:
                raise DeviceLostError("stopped", where=device.name)
            yield opened
        finally:
            opened.close()

    def close_all(self) -> None:
        with self._lock:
            self.stopped = True
            for connection in self._connections:
                connection.close()


def _deliver_to(device: Device, delivery: Delivery, cache: Cache, sink: Sink, opened: _Open) -> Iterator[RunResult]:
    """Results of one device. What breaks the device breaks the rest of its runs; what breaks a run, that run."""
    target = delivery.target
    done: set[str] = set()
    try:
        with opened.connection(device) as connection:
            session = _Session(connection, device, delivery, cache, sink)
            for item, result in session.results():
                done.add(item.prepared.run.folder)
                yield result
    except EdgedeployError as error:
        for item in delivery.ready:
            if item.prepared.run.folder not in done:
                broken = failed_run(item.prepared.run, delivery.project, target.name, device.name, error)
                yield with_artifact(broken, item)


class _Session:
    """One device, connected: what it is, which runner each run takes there, then push, then one run after the other."""

    def __init__(self, connection: Connection, device: Device, delivery: Delivery, cache: Cache, sink: Sink) -> None:
        self._connection = connection
        self._device = device
        self._delivery = delivery
        self._cache = cache
        self._sink = sink
        target = delivery.target
        self._abi: Abi = host_abi() if target.abi == "host" else target.abi
        self._os: Os = host_os() if target.os == "host" else target.os
        self._python = sys.executable if device.transport == "local" else device.python
        self._probe: Probe = registry.probe(self._os)

    def results(self) -> Iterator[tuple[Ready, RunResult]]:
        self._check_abi()
        payloads: list[tuple[Ready, Payload]] = []
        for item in self._delivery.ready:
            try:
                payloads.append((item, Payload(prepared=item.prepared, bundle=self._choose(item))))
            except EdgedeployError as error:
                yield item, self._failed(item, error)
        if not payloads:
            return
        store = Store(
            self._connection,
            device=self._device.name,
            workdir=self._device.workdir or self._delivery.target.workdir,
            project=self._delivery.project,
        )
        release, figures = push(
            store,
            [payload for _, payload in payloads],
            project=self._delivery.project,
            device=self._device.name,
            sink=self._sink,
        )
        for (item, payload), stats in zip(payloads, figures, strict=True):
            yield item, self._finish(item, payload, stats, store, release)

    def _check_abi(self) -> None:
        facts = facts_of(self._connection, self._probe, "/")
        if facts.abi is not None and facts.abi != self._abi:
            raise DeviceUnavailableError(
                f"{self._device.name} is not a {self._delivery.target.name}: its programs are of another kind",
                seen=f"{facts.abi}, the target says {self._abi}",
                next_step="give the device the right `target` in lab.toml (a 32-bit system on a 64-bit board needs a 64-bit one)",
            )

    @cached_property
    def _python_facts(self) -> Mapping[str, str]:
        return python_facts_of(self._connection, self._python)

    def _choose(self, item: Ready) -> RunnerBundle:
        if item.runner is not None and item.runner_abi == self._abi:
            return item.runner
        return choose(
            item.prepared.artifact,
            self._delivery.target.runtimes,
            abi=self._abi,
            os=self._os,
            python_facts=lambda: self._python_facts,
            cache_dir=self._cache.runners,
            emit=emitter(self._sink, "setup", self._device.name),
            sink=self._sink,
        )

    def _finish(self, item: Ready, payload: Payload, stats: PushStats, store: Store, release: int) -> RunResult:
        if not self._delivery.measured:
            return self._with_push(item, stats, Verdict(status="unmeasured", reasons=("deployed, not measured",)))
        run, artifact = item.prepared.run, item.prepared.artifact
        base = store.release_dir(release)
        try:
            with store.scratch() as scratch:
                placed = Placed(
                    artifact=artifact,
                    bundle=payload.bundle,
                    artifact_dir=f"{base}/{payload.artifact_dir}",
                    runner_dir=f"{base}/{payload.runner_dir}",
                    scratch=scratch,
                    python=self._python,
                    device=self._device.name,
                )
                folder = Path(item.prepared.folder)
                try:
                    found = measure(self._connection, placed, run.policy, folder, self._probe, self._sink)
                except RunnerError:
                    if not self._healed(payload, store):
                        raise
                    found = measure(self._connection, placed, run.policy, folder, self._probe, self._sink)
        except DeviceError:
            raise
        except EdgedeployError as error:
            return msgspec.structs.replace(self._failed(item, error), push=stats)
        cache_bytes = artifact.language.kv_cache_bytes if artifact.language else 0
        return _measured(self._with_push(item, stats, judge(run, artifact, found)), found, cache_bytes)

    def _healed(self, payload: Payload, store: Store) -> bool:
        """After a run that failed: whether files on the device were damaged, and have been sent again."""
        files = {file.entry.sha256: file for file in payload.files()}
        damaged = store.damaged(tuple(file.entry for file in files.values()))
        for sha in damaged:
            store.receive(files[sha], progress=lambda _count: None)
        if damaged:
            names = ", ".join(sorted(files[sha].entry.path for sha in damaged))
            self._sink(Note(text=f"{self._device.name}: damaged on the device, sent again: {names}", level="warning"))
        return bool(damaged)

    def _with_push(self, item: Ready, stats: PushStats, verdict: Verdict) -> RunResult:
        blank = _blank(item.prepared.run, self._delivery.project, self._delivery.target.name, self._device.name)
        return with_artifact(msgspec.structs.replace(blank, push=stats, verdict=verdict), item)

    def _failed(self, item: Ready, error: EdgedeployError) -> RunResult:
        target, device = self._delivery.target.name, self._device.name
        return with_artifact(failed_run(item.prepared.run, self._delivery.project, target, device, error), item)


def _generation(processes: Sequence[ProcessSamples], kv_cache_bytes: int) -> GenerationSummary | None:
    runs = [process.generation for process in processes if process.generation is not None]
    if not runs:
        return None
    return GenerationSummary(
        prompt_tokens=runs[0].prompt_tokens,
        generated_tokens=len(runs[0].tokens),
        ttft_ns=quantile([run.ttft_ns for run in runs], 0.5),
        prefill_tokens_per_s=round(statistics.median(run.prefill_tokens_per_s for run in runs), 3),
        decode_tokens_per_s=round(statistics.median(run.decode_tokens_per_s for run in runs), 3),
        kv_cache_bytes=kv_cache_bytes,
    )


def _measured(result: RunResult, found: Measurement, kv_cache_bytes: int) -> RunResult:
    samples = tuple(sample for process in found.processes for sample in process.latency_ns)
    return msgspec.structs.replace(
        result,
        verify=msgspec.structs.replace(result.verify, device=found.agreement),
        load_ns=quantile([process.load_ns for process in found.processes], 0.5),
        latency_ns=Latency(samples=samples, p50=quantile(samples, 0.5), p90=quantile(samples, 0.9), p99=quantile(samples, 0.99)),
        profile=found.profile,
        generation=_generation(found.processes, kv_cache_bytes),
        peak_rss_bytes=max(process.peak_rss_bytes for process in found.processes),
        device_sha256=found.device_sha256,
        processes=found.processes,
        environment=found.environment,
    )


def with_artifact(result: RunResult, item: Ready) -> RunResult:
    """The same result with what is known of its artifact."""
    artifact = item.prepared.artifact
    return msgspec.structs.replace(
        result,
        artifact=_summary(item.prepared),
        sizes=Sizes(
            artifact_bytes=artifact.size_bytes,
            float_bytes=4 * artifact.parameters,
            golden_bytes=sum(entry.size_bytes for entry in artifact.golden_files()),
        ),
        seconds=Seconds(load=artifact.load_seconds, export=artifact.export_seconds),
        toolchain=artifact.toolchain,
        delegation=delegation_of(artifact.operators),
        verify=item.host,
    )


def _blank(run: PlannedRun, project: str, target: str, device: str) -> RunResult:
    now = dt.datetime.now(dt.UTC)
    return RunResult(
        id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        created_at=now.isoformat(timespec="milliseconds"),
        project=project,
        model=run.model_name,
        recipe=run.recipe_name,
        target=target,
        device=device,
        lane=run.lane,
        verdict=Verdict(status="unmeasured"),
    )


def _summary(prepared: Prepared) -> ArtifactSummary:
    artifact = prepared.artifact
    return ArtifactSummary(
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        format=artifact.format,
        folder=prepared.folder,
        export_cached=prepared.cached,
        peak_export_rss_bytes=artifact.peak_export_rss_bytes,
        parameters=artifact.parameters,
        inspection=artifact.inspection,
    )
