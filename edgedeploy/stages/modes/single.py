"""One inference after the other, in fresh processes; MLPerf calls it SingleStream."""

from __future__ import annotations

import time

from edgedeploy.domain.events import Note
from edgedeploy.runners.document import LanguageDocument, RunnerDocument
from edgedeploy.stages.modes.cold import cold_start
from edgedeploy.stages.modes.session import Session, Taken


def single(session: Session) -> Taken:
    """``processes`` of them, after one whose model was not in the page cache.

    Raises:
        RunnerError: a process failed.
        DeviceLostError: the device went away.
    """
    watching, policy = session.watching(), session.policy
    cold_load = cold_start(session, session.connection).cold_load
    processes = []
    for number in range(policy.processes):
        if number and policy.cooldown_s:
            time.sleep(policy.cooldown_s)
        session.tell(number, policy.processes, "process")
        document = session.either(watching)
        processes.append(document.samples)
        _tell_short(session, document)
    return Taken(
        processes=tuple(processes),
        document=document,
        outputs=session.placed.scratch,
        during=watching.seen(),
        cold_load=cold_load,
    )


def _tell_short(session: Session, document: RunnerDocument | LanguageDocument) -> None:
    """Say that a minimum was not reached because the time was over; a language model's tokens are counted otherwise."""
    policy, done = session.policy, len(document.samples.latency_ns)
    if isinstance(document, RunnerDocument) and done < policy.iterations:
        text = f"{done} of {policy.iterations} iterations, as max_seconds = {policy.max_seconds:g} was over"
        session.sink(Note(text=f"{session.subject}: {text}"))
