"""Measure: fresh processes of the runner, one after the other, with the circumstances before, meanwhile and after."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgedeploy.agreement import merged
from edgedeploy.domain.conditions import During, Start
from edgedeploy.domain.events import Finished, Note, Progress, Sink, Started
from edgedeploy.domain.measurement import ColdLoad, DeviceFacts, Environment, Measurement, ProcessSamples, unsteady
from edgedeploy.domain.operator_times import Profile
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError, RunnerKilledError
from edgedeploy.ports import RUNNER_APP, Connection, Probe
from edgedeploy.profile import join
from edgedeploy.runners.document import LanguageDocument, ProcessDocument, RunnerDocument
from edgedeploy.stages.clock import Clock
from edgedeploy.stages.energy import EnergyPass
from edgedeploy.stages.execute import Placed, agreement, execute, launch_of, once, shortest, start
from edgedeploy.stages.facts import facts_of
from edgedeploy.stages.killed import explained
from edgedeploy.stages.start_gate import Gate
from edgedeploy.stages.talk import agreed, answer, conversation
from edgedeploy.stages.watching import Watching
from edgedeploy.stats import quantile


def measure(
    connection: Connection,
    placed: Placed,
    policy: MeasurePolicy,
    folder: Path,
    probe: Probe,
    sink: Sink,
) -> Measurement:
    """Every sample of every process, the outputs' agreement with PyTorch, and what the device said about itself.

    Latency is that of the main method at the shapes of its first golden inputs; every method is compared with PyTorch, whose
    answers lie in ``folder``. Of a language model, what is measured is the answer to its first prompt, token by token. Loads are
    warm, but for one in a process of its own.

    Raises:
        RunnerError: a process failed; nothing of the run is kept.
        DeviceLostError: the device went away.
    """
    subject = f"{placed.artifact.model} {placed.artifact.lane.id} on {placed.device}"
    sink(Started(stage="measure", subject=subject))
    ready = Gate(connection, probe, policy, sink, subject).wait()
    before = facts_of(connection, probe, placed.scratch)
    clock = Clock(connection, placed.scratch, policy)
    watching = Watching(clock, placed.scratch, policy.cpus)
    calls = placed.artifact.calls()
    method, golden = calls[0]
    language = placed.artifact.language
    processes: list[ProcessSamples] = []
    with _kills_explained(connection, placed, probe, before):
        cold_load = _cold_load(connection, placed, policy)
        for number in range(policy.processes):
            if number and policy.cooldown_s:
                time.sleep(policy.cooldown_s)
            sink(Progress(stage="measure", subject=subject, done=number, total=policy.processes, text="process"))
            document: RunnerDocument | LanguageDocument
            if language is None:
                document = execute(watching, placed, method, golden, policy)
            else:
                document = answer(watching, placed, language, policy, language.prompts[:1], None)
            processes.append(document.samples)
        found = [agreement(connection, placed, method, golden, document, folder)] if isinstance(document, RunnerDocument) else []
        during = watching.seen()
        after = facts_of(connection, probe, placed.scratch)
        found += [once(connection, placed, other, case, policy, folder) for other, case in calls[len(found) :]]
    agreement_found = merged(found)
    if language is not None and isinstance(document, LanguageDocument):
        said = agreed(document, language.prompts[:1], None)
        agreement_found = msgspec.structs.replace(agreement_found, language=said)
    sink(Progress(stage="measure", subject=subject, done=policy.processes, total=policy.processes, text="profile"))
    profile = _profile(clock, placed, policy, sink)
    if restless := unsteady(processes):
        sink(
            Note(text=f"{placed.device}: {restless} in {policy.warmup_seconds:g} s of warm-up; is something else running there?")
        )
    everything = [sample for process in processes for sample in process.latency_ns]

    def run(over: Connection, how: MeasurePolicy) -> tuple[int, ...]:
        if language is None:
            return execute(over, placed, method, golden, how).samples.latency_ns
        return answer(over, placed, language, how, language.prompts[:1], None).samples.latency_ns

    app = probe.command("/")[0] == RUNNER_APP
    energy_pass = EnergyPass(clock, placed.scratch, policy, run, sink, subject, has_no_shell=app)
    energy = energy_pass.measure(quantile(everything, 0.5))
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
        environment=msgspec.structs.replace(
            _environment(document, (before, after), during, ready), fixed_clock=clock.said(sink, placed.device)
        ),
        agreement=agreement_found,
        profile=profile,
        cold_load=cold_load,
        energy=energy,
    )


@contextmanager
def _kills_explained(connection: Connection, placed: Placed, probe: Probe, before: DeviceFacts) -> Iterator[None]:
    """Whoever is killed in here, the error says what the device knows about its memory."""
    try:
        yield
    except RunnerKilledError as error:
        raise explained(error, before, facts_of(connection, probe, placed.scratch), placed.artifact.size_bytes) from error


def _cold_load(connection: Connection, placed: Placed, policy: MeasurePolicy) -> ColdLoad:
    """From a process before all others, for which the model was taken out of the page cache. It measures nothing else."""
    artifact, briefly = placed.artifact, shortest(policy)
    if artifact.language is None:
        method, golden = artifact.calls()[0]
        launch = launch_of(placed, method, golden, briefly)
        return start(connection, placed, msgspec.structs.replace(launch, cold=True), RunnerDocument).cold_load
    launch = conversation(placed, artifact.language, briefly, artifact.language.prompts[:1], None)
    talk = launch.talk and msgspec.structs.replace(launch.talk, generate_tokens=1)
    return start(connection, placed, msgspec.structs.replace(launch, cold=True, talk=talk), LanguageDocument).cold_load


def _profile(connection: Connection, placed: Placed, policy: MeasurePolicy, sink: Sink) -> Profile | None:
    """Time per operator of the main method, from a process of its own; None where the runner cannot tell."""
    artifact = placed.artifact
    method, golden = artifact.calls()[0]
    try:
        document = execute(connection, placed, method, golden, policy, profile=True)
    except RunnerError as error:  # the samples are there; what they are made of is not worth losing them
        sink(Note(text=f"{placed.device}: no time per operator: {error.seen or error.what}"))
        return None
    return (
        join(artifact.operators, artifact.delegate_graphs, document.operators, method=method.name) if document.operators else None
    )


def _environment(
    document: ProcessDocument, facts: tuple[DeviceFacts, DeviceFacts], during: During, start: Start | None
) -> Environment:
    return Environment(
        runner=f"{document.runner.name} {document.runner.version}",
        engine=document.runner.engine,
        engine_version=document.runner.engine_version,
        threads=document.threads,
        cpus=document.cpus,
        clock=document.clock.name,
        clock_resolution_ns=document.clock.resolution_ns,
        host=platform.node(),
        before=facts[0],
        after=facts[1],
        during=during,
        start=start,
    )
