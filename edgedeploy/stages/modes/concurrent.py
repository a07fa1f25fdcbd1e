"""The same model beside a load and without one, in turns: how much slower it is when something else is at work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import exp, log

from edgedeploy.domain.conditions import During
from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.mode_figures import ConcurrentFigures, Ratio
from edgedeploy.errors import RunnerError
from edgedeploy.probes.background import beside_load, early_end, words_of
from edgedeploy.stages.beside import Beside
from edgedeploy.stages.modes.session import Session, Taken
from edgedeploy.stats import quantile
from edgedeploy.stats.schedule import schedule
from edgedeploy.stats.student import t_interval

_TAIL = 0.025


def concurrent(session: Session) -> Taken:
    """Pairs of fresh processes, one of them with the load, in random order.

    A turn is a whole process here, and not some milliseconds of one: a load that comes and goes so fast is another load, to the
    clock's governor and to the caches.

    Raises:
        RunnerError: a process failed, or the load ended before the process beside it did.
        DeviceLostError: the device went away.
    """
    settings, scratch = session.policy.concurrent, session.placed.scratch
    report = f"{scratch}/load.txt"
    load = Beside(session.connection, report, lambda argv, _limit_s: beside_load(argv, settings, report))
    quiet, loaded = session.watching(name="quiet"), session.watching(load, name="loaded")
    alone: list[ProcessSamples] = []
    beside: list[ProcessSamples] = []
    for number, side in enumerate(schedule(settings.pairs, seed=0)):
        if number and session.policy.cooldown_s:
            time.sleep(session.policy.cooldown_s)
        with_load = side == "candidate"
        session.tell(number, 2 * settings.pairs, "beside the load" if with_load else "alone")
        document = session.run(loaded if with_load else quiet)
        (beside if with_load else alone).append(document.samples)
        if with_load and (ended := early_end(load.written())):
            raise RunnerError(
                "the load ended before the inferences beside it did",
                where=session.placed.device,
                seen=f"{words_of(settings)}: {ended}",
                next_step="give a `command` that goes on until it is killed, in the foreground",
            )
    during = loaded.seen()
    return Taken(
        processes=tuple(beside),
        document=document,
        outputs=scratch,
        during=during,
        figures=_figures(words_of(settings), alone, beside, quiet.seen(), during),
    )


def _figures(
    load: str, alone: Sequence[ProcessSamples], beside: Sequence[ProcessSamples], quiet: During, loaded: During
) -> ConcurrentFigures:
    return ConcurrentFigures(
        load=load,
        pairs=len(beside),
        p50=_ratio(alone, beside, 0.5),
        p90=_ratio(alone, beside, 0.9),
        quiet_p50_ns=quantile([ns for process in alone for ns in process.latency_ns], 0.5),
        quiet_ns=tuple(process.latency_ns for process in alone),
        others=loaded.others,
        others_quiet=quiet.others,
    )


def _ratio(alone: Sequence[ProcessSamples], beside: Sequence[ProcessSamples], q: float) -> Ratio:
    """A pair is one observation: the two ran right after one another."""
    logs = [
        log(max(1, quantile(two.latency_ns, q)) / max(1, quantile(one.latency_ns, q)))
        for one, two in zip(alone, beside, strict=True)
    ]
    mean, half = t_interval(logs, _TAIL)
    return Ratio(ratio=exp(mean), ci_low=exp(mean - half), ci_high=exp(mean + half))
