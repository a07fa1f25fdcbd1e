"""Measure: fresh processes of the runner, one after the other, with the circumstances before and after."""

from __future__ import annotations

import platform
import time

from edgedeploy.agreement import Array
from edgedeploy.domain.events import Finished, Progress, Sink, Started
from edgedeploy.domain.measurement import DeviceFacts, Environment, Measurement, ProcessSamples
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import Connection, Probe
from edgedeploy.runners.document import RunnerDocument
from edgedeploy.stages.execute import Placed, agreement, execute
from edgedeploy.stats import quantile

_PROBE_LIMIT_S = 30.0


def measure(
    connection: Connection,
    placed: Placed,
    policy: MeasurePolicy,
    references: tuple[Array, ...],
    probe: Probe,
    sink: Sink,
) -> Measurement:
    """Every sample of every process, the outputs' agreement with PyTorch, and what the device said about itself.

    Raises:
        RunnerError: a process failed; nothing of the run is kept.
        DeviceLostError: the device went away.
    """
    subject = f"{placed.artifact.model} {placed.artifact.lane.id} on {placed.device}"
    sink(Started(stage="measure", subject=subject))
    before = facts_of(connection, probe, placed.scratch)
    processes: list[ProcessSamples] = []
    found = None
    for number in range(policy.processes):
        if number and policy.cooldown_s:
            time.sleep(policy.cooldown_s)
        sink(Progress(stage="measure", subject=subject, done=number, total=policy.processes, text="process"))
        document = execute(connection, placed, policy)
        processes.append(_samples(document))
        if found is None:
            found = agreement(connection, placed, document, references)
    after = facts_of(connection, probe, placed.scratch)
    if found is None:
        raise AssertionError("a policy has at least one process")
    everything = [sample for process in processes for sample in process.latency_ns]
    sink(
        Finished(
            stage="measure",
            subject=subject,
            cached=False,
            text=f"p50 {quantile(everything, 0.5) / 1e6:.3f} ms over {len(everything)} iterations",
        )
    )
    return Measurement(
        processes=tuple(processes),
        device_sha256=document.model.sha256,
        environment=_environment(document, before, after),
        agreement=found,
    )


def facts_of(connection: Connection, probe: Probe, workdir: str) -> DeviceFacts:
    """What the device says about itself now. A probe's script never fails: what is missing is None."""
    done = connection.run(["sh", "-c", probe.script(workdir)], timeout_s=_PROBE_LIMIT_S)
    return probe.parse(done.stdout.decode(errors="replace"))


def _samples(document: RunnerDocument) -> ProcessSamples:
    return ProcessSamples(
        load_ns=document.load_ns,
        first_inference_ns=document.first_inference_ns,
        warmup_ns=document.warmup_ns,
        latency_ns=document.latency_ns,
        peak_rss_bytes=document.peak_rss_bytes,
        rss_before_load_bytes=document.rss_before_load_bytes,
    )


def _environment(document: RunnerDocument, before: DeviceFacts, after: DeviceFacts) -> Environment:
    return Environment(
        runner=f"{document.runner.name} {document.runner.version}",
        engine=document.runner.engine,
        engine_version=document.runner.engine_version,
        threads=document.threads,
        cpus=document.cpus,
        clock=document.clock.name,
        clock_resolution_ns=document.clock.resolution_ns,
        host=platform.node(),
        before=before,
        after=after,
    )
