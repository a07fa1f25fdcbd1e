"""A few inferences after a rest, again and again: what somebody waits for who taps once in a while."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from edgedeploy.domain.mode_figures import BurstFigures
from edgedeploy.ports import Bursts
from edgedeploy.runners.document import RunnerDocument
from edgedeploy.stages.modes.session import Session, Taken
from edgedeploy.stats import quantile


def burst(session: Session) -> Taken:
    """``processes`` of them, each with all its bursts.

    Raises:
        RunnerError: a process failed.
        DeviceLostError: the device went away.
    """
    watching, policy = session.watching(), session.policy
    settings = policy.burst
    launch = msgspec.structs.replace(session.launch(), bursts=Bursts(count=settings.bursts, idle_s=settings.idle_s))
    documents = []
    for number in range(policy.processes):
        if number and policy.cooldown_s:
            time.sleep(policy.cooldown_s)
        session.tell(number, policy.processes, f"{settings.bursts} bursts, {settings.idle_s:g} s apart")
        documents.append(session.run(watching, launch))
    return Taken(
        processes=tuple(document.samples for document in documents),
        document=documents[-1],
        outputs=session.placed.scratch,
        during=watching.seen(),
        figures=_figures(documents, settings.invocations, settings.idle_s),
    )


def _figures(documents: Sequence[RunnerDocument], invocations: int, idle_s: float) -> BurstFigures:
    """Bursts are whole: a process that ran out of time has fewer."""
    bursts = [
        document.latency_ns[first : first + invocations]
        for document in documents
        for first in range(0, len(document.latency_ns), invocations)
    ]
    whole_ns = [sum(one) for one in bursts]
    return BurstFigures(
        bursts=len(bursts),
        invocations=invocations,
        idle_s=idle_s,
        place_p50_ns=tuple(quantile(place, 0.5) for place in zip(*bursts, strict=True)),
        burst_p50_ns=quantile(whole_ns, 0.5),
        burst_p90_ns=quantile(whole_ns, 0.9),
    )
