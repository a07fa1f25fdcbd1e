"""Measure: fresh processes of the runner in one mode, with the circumstances before, meanwhile and after."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from edgedeploy.agreement import merged
from edgedeploy.domain.conditions import During, Start
from edgedeploy.domain.energy import Energy
from edgedeploy.domain.events import Finished, Note, Sink, Started
from edgedeploy.domain.language import Language
from edgedeploy.domain.measurement import DeviceFacts, Environment, LanguageAgreement, Measurement, unsteady
from edgedeploy.domain.mode import Mode
from edgedeploy.domain.operator_times import Profile
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import RunnerError, RunnerKilledError
from edgedeploy.ports import RUNNER_APP, Connection, Probe
from edgedeploy.profile import join
from edgedeploy.runners.document import LanguageDocument, ProcessDocument, RunnerDocument
from edgedeploy.stages.clock import Clock
from edgedeploy.stages.energy import EnergyPass
from edgedeploy.stages.execute import Placed, agreement, execute, once, shortest
from edgedeploy.stages.facts import facts_of
from edgedeploy.stages.guarded import Guarded
from edgedeploy.stages.killed import explained
from edgedeploy.stages.modes.burst import burst
from edgedeploy.stages.modes.cold import cold
from edgedeploy.stages.modes.concurrent import concurrent
from edgedeploy.stages.modes.session import Session, Taken, paced
from edgedeploy.stages.modes.single import single
from edgedeploy.stages.modes.sustained import sustained
from edgedeploy.stages.modes.throughput import throughput
from edgedeploy.stages.start_gate import Gate
from edgedeploy.stages.talk import agreed, answer
from edgedeploy.stats import quantile

MODE_OF: dict[Mode, Callable[[Session], Taken]] = {
    "single": single,
    "burst": burst,
    "sustained": sustained,
    "cold": cold,
    "throughput": throughput,
    "concurrent": concurrent,
}


def measure(
    connection: Connection,
    placed: Placed,
    policy: MeasurePolicy,
    folder: Path,
    probe: Probe,
    sink: Sink,
) -> Measurement:
    """Every sample of every process, the outputs' agreement with PyTorch, and what the device said about itself.

    Latency is that of the main method at the shapes of its first golden inputs, in the policy's mode; every method is compared
    with PyTorch, whose answers lie in ``folder``. Of a language model, what is measured is the answer to its first prompt, token
    by token. Time per operator, energy and the one cold load beside warm ones belong to mode ``single``.

    Raises:
        RunnerError: a process failed; nothing of the run is kept.
        DeviceLostError: the device went away.
    """
    subject = f"{placed.artifact.model} {placed.artifact.lane.id} on {placed.device}"
    sink(Started(stage="measure", subject=subject))
    ready = Gate(connection, probe, policy, sink, subject).wait()
    before = facts_of(connection, probe, placed.scratch)
    is_single = policy.mode == "single"
    guarded = Guarded(connection, placed.scratch)
    clock = Clock(connection if is_single else guarded, placed.scratch, policy)
    session = Session(connection=clock, placed=placed, policy=paced(policy), sink=sink, subject=subject)
    calls = placed.artifact.calls()
    language = placed.artifact.language
    with _kills_explained(guarded, placed, probe, before):
        taken = MODE_OF[policy.mode](session)
        document = taken.document
        found = []
        if isinstance(document, RunnerDocument):
            found.append(agreement(connection, replace(placed, scratch=taken.outputs), *calls[0], document, folder))
        after = facts_of(connection, probe, placed.scratch)
        found += [once(connection, placed, other, case, policy, folder) for other, case in calls[len(found) :]]
    agreement_found = merged(found)
    if language is not None and isinstance(document, LanguageDocument):
        agreement_found = msgspec.structs.replace(agreement_found, language=_said(session, language, document))
    if restless := unsteady(taken.processes):
        sink(
            Note(text=f"{placed.device}: {restless} in {policy.warmup_seconds:g} s of warm-up; is something else running there?")
        )
    everything = [sample for process in taken.processes for sample in process.latency_ns]
    p50_ns = quantile(everything, 0.5)
    profile = energy = None
    if is_single:
        session.tell(policy.processes, policy.processes, "profile")
        profile = _profile(clock, placed, policy, sink)
        energy = _energy(session, has_no_shell=probe.command("/")[0] == RUNNER_APP, latency_ns=p50_ns)
    text = f"p50 {p50_ns / 1e6:.3f} ms over {len(everything)} iterations"
    sink(Finished(stage="measure", subject=subject, cached=False, text=text if is_single else f"{policy.mode}: {text}"))
    return Measurement(
        processes=taken.processes,
        device_sha256=document.model.sha256,
        environment=msgspec.structs.replace(
            _environment(document, (before, after), taken.during, ready), fixed_clock=clock.said(sink, placed.device)
        ),
        agreement=agreement_found,
        profile=profile,
        cold_load=taken.cold_load,
        energy=energy,
        mode_figures=taken.figures,
    )


def _said(session: Session, language: Language, document: LanguageDocument) -> LanguageAgreement:
    """How much of the first prompt's answer is PyTorch's. A cold start makes one token of it: then another process answers."""
    if session.policy.mode == "cold":
        document = answer(session.connection, session.placed, language, shortest(session.policy), language.prompts[:1], None)
    return agreed(document, language.prompts[:1], None)


def _energy(session: Session, *, has_no_shell: bool, latency_ns: int) -> Energy | None:
    def run(over: Connection, how: MeasurePolicy) -> tuple[int, ...]:
        return replace(session, policy=how).either(over).samples.latency_ns

    scratch, policy = session.placed.scratch, session.policy
    passes = EnergyPass(session.connection, scratch, policy, run, session.sink, session.subject, has_no_shell=has_no_shell)
    return passes.measure(latency_ns)


@contextmanager
def _kills_explained(connection: Guarded, placed: Placed, probe: Probe, before: DeviceFacts) -> Iterator[None]:
    """Whoever is killed in here, the error says what the device knows: whether its guard did it, and of its memory."""
    try:
        yield
    except RunnerKilledError as error:
        if why := connection.why():
            what, advice = "the guard on the device ended the runner", "run it again; see docs/modes.md, *Nothing stays behind*"
            raise RunnerKilledError(what, where=error.where, seen=why, next_step=advice) from error
        raise explained(error, before, facts_of(connection, probe, placed.scratch), placed.artifact.size_bytes) from error


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
