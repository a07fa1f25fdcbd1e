"""From the texts an adapter emits to events."""

from __future__ import annotations

from edgedeploy.domain.events import Progress, Sink, StageName
from edgedeploy.ports import Emit


def emitter(sink: Sink, stage: StageName, subject: str) -> Emit:
    """A function that turns each text into a progress event of ``stage``."""
    done = 0

    def emit(text: str) -> None:
        nonlocal done
        done += 1
        sink(Progress(stage=stage, subject=subject, done=done, total=0, text=text))

    return emit
