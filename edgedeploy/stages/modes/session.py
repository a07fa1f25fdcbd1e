"""What every mode works with, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edgedeploy.domain.conditions import During
from edgedeploy.domain.events import Progress, Sink
from edgedeploy.domain.measurement import ColdLoad, ProcessSamples
from edgedeploy.domain.mode_figures import ModeFigures
from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.ports import Connection, Launch
from edgedeploy.runners.document import LanguageDocument, RunnerDocument
from edgedeploy.stages.execute import Placed, launch_of, start
from edgedeploy.stages.talk import answer
from edgedeploy.stages.watching import Watching


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a mode gives. ``document`` is that of the last process, whose outputs lie in the device's folder ``outputs``."""

    processes: tuple[ProcessSamples, ...]
    document: RunnerDocument | LanguageDocument
    outputs: str
    during: During
    cold_load: ColdLoad | None = None
    figures: ModeFigures | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """One measurement of one artifact on one device. ``policy`` is what a runner is told of it (:func:`paced`)."""

    connection: Connection
    placed: Placed
    policy: MeasurePolicy
    sink: Sink
    subject: str

    def watching(self, connection: Connection | None = None, *, name: str = "conditions") -> Watching:
        """The connection, with the device watched while programs run; what is seen goes to a file of that name."""
        return Watching(connection or self.connection, self.placed.scratch, self.policy.cpus, name=name)

    def tell(self, done: int, total: int, text: str) -> None:
        """How far it is."""
        self.sink(Progress(stage="measure", subject=self.subject, done=done, total=total, text=text))

    def launch(self) -> Launch:
        """The main method on its first golden inputs, by the policy."""
        method, golden = self.placed.artifact.calls()[0]
        return launch_of(self.placed, method, golden, self.policy)

    def run(self, connection: Connection, launch: Launch | None = None) -> RunnerDocument:
        """One fresh process of a model that is run call by call.

        Raises:
            RunnerError: it failed.
            DeviceLostError: the device went away.
        """
        return start(connection, self.placed, launch or self.launch(), RunnerDocument)

    def either(self, connection: Connection) -> RunnerDocument | LanguageDocument:
        """One fresh process of any model; of a language model, its answer to the first prompt. Raises as :meth:`run`."""
        language = self.placed.artifact.language
        if language is None:
            return self.run(connection)
        return answer(connection, self.placed, language, self.policy, language.prompts[:1], None)


def paced(policy: MeasurePolicy) -> MeasurePolicy:
    """The same policy with the numbers and times that its mode asks of each process."""
    match policy.mode:
        case "burst":
            return msgspec.structs.replace(policy, iterations=policy.burst.invocations, min_seconds=0.0)
        case "sustained":
            seconds = 60 * policy.sustained.minutes
        case "throughput":
            seconds = policy.throughput.seconds
        case _:
            return policy
    return msgspec.structs.replace(policy, iterations=1, min_seconds=0.0, max_seconds=seconds)
