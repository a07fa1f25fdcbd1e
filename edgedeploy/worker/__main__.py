"""The worker process: reads one job from stdin, writes messages to stdout, ends when its parent does."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

from edgedeploy.decoding import decode
from edgedeploy.worker.job import EvaluateJob, ExportJob, Failed, Message, ProfileJob


def main() -> None:
    """Keep stdout for messages, send everything else that is printed to the log.

    The command line names a folder for SDKs' temporary files, which the parent removes, and the log.
    """
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    line = sys.stdin.buffer.readline()
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a model that asks a question gets the end of the file, not our channel
    os.close(nothing)
    said = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(parent, said), daemon=True).start()
    _work(line, channel, said.acquire)
    # The SDKs' threads and atexit hooks have been seen to hang or crash; the answer is out, so nothing is lost.
    os._exit(0)


def _listen(parent: int, said: threading.Semaphore) -> None:
    """Tell of every line that the parent writes, and end with it."""
    # The raw descriptor, not the buffered object: a daemon thread holding its lock would abort the interpreter's end.
    while received := os.read(parent, 4096):
        for _ in range(received.count(b"\n")):
            said.release()
    os._exit(1)


def _work(line: bytes, channel: BinaryIO, wait: Callable[[], object]) -> None:
    import msgspec

    from edgedeploy.worker.job import EvaluateJob, ExportJob, Job

    def say(message: Message) -> None:
        channel.write(msgspec.json.encode(message) + b"\n")

    job: Job = decode(line, Job)
    if isinstance(job, ExportJob):
        _export(job, say)
    elif isinstance(job, EvaluateJob):
        _evaluate(job, say, wait)
    else:
        _profile(job, say)


def _evaluate(job: EvaluateJob, say: Callable[[Message], None], wait: Callable[[], object]) -> None:
    from edgedeploy.worker.evaluating import evaluate
    from edgedeploy.worker.job import ALL_ORDERS, Batch, Recorded, Step

    def run(batches: tuple[Batch, ...]) -> None:
        say(Recorded(batches=batches))
        wait()

    try:
        say(evaluate(job, run, lambda text: say(Step(order=ALL_ORDERS, text=text))))
    except BaseException as error:  # noqa: BLE001 - the whole traceback is in the log
        say(_failed(error, ALL_ORDERS, what=f"the evaluation of {job.subject}", where=job.project_file, folder=job.folder))


def _export(job: ExportJob, say: Callable[[Message], None]) -> None:
    from edgedeploy.worker.exporting import Loaded
    from edgedeploy.worker.job import ALL_ORDERS, Step

    try:
        loaded = Loaded(job, lambda text: say(Step(order=ALL_ORDERS, text=text)))
    except BaseException as error:  # noqa: BLE001 - the whole traceback is in the log
        what, folder = f"the export of {job.model_name}", job.orders[0].folder
        say(_failed(error, ALL_ORDERS, what=what, where=job.project_file, folder=folder))
        return
    _use_temporary_folder(sys.argv[1])
    for number, order in enumerate(job.orders):
        try:
            say(loaded.export(number, lambda text, number=number: say(Step(order=number, text=text))))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001 - the other orders go on; the whole traceback is in the log
            what = f"the export of {job.model_name} as {order.lane.id}"
            say(_failed(error, number, what=what, where=order.lane.exporter, folder=order.folder))


def _use_temporary_folder(folder: str) -> None:
    """Let everything from here on make its temporary files there. Not before: the model's own code may rely on its own."""
    import tempfile

    tempfile.tempdir = os.environ["TMPDIR"] = folder


def _profile(job: ProfileJob, say: Callable[[Message], None]) -> None:
    from edgedeploy.worker.job import ALL_ORDERS, Step
    from edgedeploy.worker.profiling import profiled

    try:
        say(profiled(job, lambda text: say(Step(order=ALL_ORDERS, text=text))))
    except BaseException as error:  # noqa: BLE001 - the whole traceback is in the log
        say(_failed(error, ALL_ORDERS, what=f"the profile of {job.model_name}", where=job.project_file, folder=""))


def _failed(error: BaseException, number: int, *, what: str, where: str, folder: str) -> Failed:
    """What the other side is told; the traceback goes to the log."""
    import errno
    import traceback

    from edgedeploy.errors import EdgedeployError
    from edgedeploy.worker.job import Failed

    with suppress(OSError):  # the log's own disk may be the one that is full
        traceback.print_exception(error)
    if isinstance(error, EdgedeployError):
        return Failed(
            order=number,
            # A plug-in may raise a kind of its own: the nearest that the other side knows.
            kind=next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "edgedeploy.errors"),
            what=error.what,
            where=error.where,
            seen=error.seen,
            next_step=error.next_step,
        )
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Failed(
            order=number,
            kind="UsageError",
            what="no space left on this machine",
            where=folder,
            seen=str(error),
            next_step="free some space, or set XDG_CACHE_HOME to a larger file system",
        )
    return Failed(
        order=number,
        kind="ExportError",
        what=f"{what} failed in a way edgedeploy does not know",
        where=where,
        seen=f"{type(error).__name__}: {error}"[:500],
        next_step=f"the whole traceback is in {sys.argv[2]}; please report it",
    )


if __name__ == "__main__":
    main()
