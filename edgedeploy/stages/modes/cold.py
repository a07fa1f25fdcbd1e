"""Fresh processes whose model is not in the page cache: what somebody waits for who opens the app for the first time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgedeploy.domain.measurement import ProcessSamples
from edgedeploy.domain.mode_figures import ColdFigures, Spread
from edgedeploy.errors import CommandTimeoutError
from edgedeploy.ports import Connection
from edgedeploy.probes.page_cache import DROP_SCRIPT, parse_dropped
from edgedeploy.runners.document import LanguageDocument, RunnerDocument
from edgedeploy.stages.execute import launch_of, shortest, start
from edgedeploy.stages.modes.session import Session, Taken
from edgedeploy.stages.talk import conversation
from edgedeploy.stats import quantile

_DROP_LIMIT_S = 60.0


def cold(session: Session) -> Taken:
    """As many as the policy says; what they run first is what counts.

    Raises:
        RunnerError: a process failed.
        DeviceLostError: the device went away.
    """
    watching, settings = session.watching(), session.policy.cold
    documents: list[RunnerDocument | LanguageDocument] = []
    reasons = set()
    for number in range(settings.starts):
        session.tell(number, settings.starts, "cold start")
        reasons.add(_drop(session.connection) if settings.drop_caches else "not asked for")
        documents.append(cold_start(session, watching))
    found = [_started(document.samples) for document in documents]
    return Taken(
        processes=tuple(found),
        document=documents[-1],
        outputs=session.placed.scratch,
        during=watching.seen(),
        figures=_figures(found, [document.cold_load.cached for document in documents], "; ".join(sorted(reasons - {""}))),
    )


def cold_start(session: Session, connection: Connection) -> RunnerDocument | LanguageDocument:
    """One process whose model was taken out of the page cache, and that runs no more than it has to.

    Raises:
        RunnerError: it failed.
        DeviceLostError: the device went away.
    """
    placed, briefly = session.placed, shortest(session.policy)
    language = placed.artifact.language
    if language is None:
        method, golden = placed.artifact.calls()[0]
        launch = launch_of(placed, method, golden, briefly)
        return start(connection, placed, msgspec.structs.replace(launch, cold=True), RunnerDocument)
    launch = conversation(placed, language, briefly, language.prompts[:1], None)
    talk = launch.talk and msgspec.structs.replace(launch.talk, generate_tokens=1)
    return start(connection, placed, msgspec.structs.replace(launch, cold=True, talk=talk), LanguageDocument)


def _started(samples: ProcessSamples) -> ProcessSamples:
    """With the first inference as the one latency that counts."""
    return msgspec.structs.replace(samples, latency_ns=(samples.first_inference_ns,), warmup_ns=(), generation=None)


def _drop(connection: Connection) -> str:
    """Take all files out of the page cache where root can; why that was not possible, empty where it was."""
    try:
        done = connection.run(["sh", "-c", DROP_SCRIPT], timeout_s=_DROP_LIMIT_S)
    except CommandTimeoutError:
        return f"what is not yet on the storage was not written within {_DROP_LIMIT_S:g} s"
    return parse_dropped(done.stdout.decode(errors="replace"))


def _figures(found: Sequence[ProcessSamples], cached: Sequence[float | None], not_dropped: str) -> ColdFigures:
    return ColdFigures(
        starts=len(found),
        load_ns=_spread([one.load_ns for one in found]),
        first_inference_ns=_spread([one.first_inference_ns for one in found]),
        until_first_ns=_spread([one.load_ns + one.first_inference_ns for one in found]),
        cached=tuple(cached),
        dropped=not not_dropped,
        not_dropped=not_dropped,
    )


def _spread(values: Sequence[int]) -> Spread:
    return Spread(least=min(values), p50=quantile(values, 0.5), p90=quantile(values, 0.9), most=max(values))
