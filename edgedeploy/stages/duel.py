"""Two artifacts on one device at the same time: a fresh process of each, loaded and warm, that take turns.

What slows the device down for a while (heat, a neighbour, the clock's governor) slows both down, so their ratio stays. The device
itself passes the turn on (docs/runner-protocol.md): no round trip to the host falls between two turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edgedeploy.domain.target import MeasurePolicy
from edgedeploy.errors import CommandTimeoutError, DeviceRunError, RunnerError
from edgedeploy.ports import Completed, Connection, Launch, Turns, TurnSide
from edgedeploy.runners.document import LanguageDocument, ProcessDocument, RunnerDocument
from edgedeploy.runtimes.launch import command
from edgedeploy.shell import quote_command
from edgedeploy.stages.execute import START_LIMIT_S, Placed, did_not_end, document_of, launch_of
from edgedeploy.stages.several import STDERR_BYTES, STDOUT_BYTES, apart, text_of
from edgedeploy.stages.talk import conversation

_NO_PIPES = 9
_FAILED_FOR_THE_OTHER = "at stage 'turn'"
# Each redirection waits until the other side has opened its end, so the two orders have to match.
_BOTH = f"""
cd %s && rm -rf turns && mkdir -p turns/A turns/B && cd turns || exit 1
mkfifo to_A to_B || exit {_NO_PIPES}
%s <to_A 3>to_B >A.json 2>A.log & a=$!
%s 3>to_A <to_B >B.json 2>B.log & b=$!
wait "$a"; a=$?
wait "$b"; b=$?
for side in A B; do
  tail -c {STDERR_BYTES} $side.log >$side.end
  head -c {STDOUT_BYTES} $side.json >$side.begin
done
echo "$a" "$b" $(wc -c <A.begin) $(wc -c <B.begin) $(wc -c <A.end) $(wc -c <B.end)
cat A.begin B.begin A.end B.end
rm -rf ../turns
"""


_USUAL_TURN_S, _USUALLY, _AT_MOST = 0.05, 2000, 50_000  # iterations of one turn; each is told, and kept


def most_iterations(turn_s: float) -> int:
    """How many iterations a turn may have: the more, the longer it is to be, up to what can be kept of all blocks."""
    return min(_AT_MOST, max(_USUALLY, round(_USUALLY * turn_s / _USUAL_TURN_S)))


class NoTurnsError(DeviceRunError):
    """The device has no pipes with names where it can be written: two processes cannot be joined there."""


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Two placed artifacts, and how long a turn of each is timed. ``policy`` is that of both: threads, processors, warm-up."""

    base: Placed
    candidate: Placed
    policy: MeasurePolicy
    turn_s: float

    def fight(
        self, connection: Connection, schedule: str, *, known_turn_s: float | None = None
    ) -> tuple[ProcessDocument, ProcessDocument]:
        """One process of each, and what they say: of the base, side A of ``schedule``, and of the candidate, side B.

        ``known_turn_s`` is about how long a turn takes, where one was taken before: who hangs is given up the sooner.

        Raises:
            RunnerError: one failed, crashed, printed nonsense, or ran another file than the one that was sent.
            NoTurnsError: the two cannot be joined on this device.
            DeviceLostError: the device went away.
        """
        sides: tuple[tuple[Placed, TurnSide], ...] = ((self.base, "A"), (self.candidate, "B"))
        commands = [
            quote_command(
                command(placed.bundle, self._launch(placed, schedule, side), runner_dir=placed.runner_dir, python=placed.python)
            )
            for placed, side in sides
        ]
        script = _BOTH.strip() % (quote_command([self.base.scratch]), *commands)
        turn_s = known_turn_s or max(self.turn_s, self.policy.max_seconds)
        limit_s = START_LIMIT_S + 4 * (2 * self.policy.warmup_seconds + len(schedule) * turn_s)
        try:
            done = connection.run(["sh", "-c", script], timeout_s=limit_s)
        except CommandTimeoutError as error:
            raise did_not_end(self.candidate, error) from error
        if done.exit_code == _NO_PIPES:
            raise NoTurnsError("two processes cannot be joined", where=f"device {self.base.device}", seen=text_of(done.stderr))
        ended = apart(done, 2, self.base.device)
        return _both(list(zip((self.base, self.candidate), ended, strict=True)))

    def _launch(self, placed: Placed, schedule: str, side: TurnSide) -> Launch:
        artifact = placed.artifact
        if artifact.language is not None:
            launch = conversation(placed, artifact.language, self.policy, artifact.language.prompts[:1], None)
        else:
            method, golden = artifact.calls()[0]
            launch = launch_of(placed, method, golden, self.policy)
        return msgspec.structs.replace(
            launch,
            output_dir=f"{placed.scratch}/turns/{side}",
            turns=Turns(schedule=schedule, side=side, turn_s=self.turn_s),
        )


def _both(ended: list[tuple[Placed, Completed]]) -> tuple[ProcessDocument, ProcessDocument]:
    """Both documents. Where one process failed, so did the other one for want of its partner: the first is told."""
    documents: list[ProcessDocument] = []
    failures: list[RunnerError] = []
    for placed, done in ended:
        kind = RunnerDocument if placed.artifact.language is None else LanguageDocument
        try:
            documents.append(document_of(placed, done, kind))
        except RunnerError as error:
            failures.append(error)
    if failures:
        raise next((error for error in failures if _FAILED_FOR_THE_OTHER not in error.what), failures[0])
    base, candidate = documents
    return base, candidate
