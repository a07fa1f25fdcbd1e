"""The worker process: reads one job from stdin, writes messages to stdout, ends when its parent does."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from edgedeploy.worker.job import ExportJob, Failed


def main() -> None:
    """Keep stdout for messages, send everything else that is printed to the log named on the command line."""
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    line = sys.stdin.buffer.readline()
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a model that asks a question gets the end of the file, not our channel
    os.close(nothing)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    _work(line, channel)
    # The SDKs' threads and atexit hooks have been seen to hang or crash; the answer is out, so nothing is lost.
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    # The raw descriptor, not the buffered object: a daemon thread holding its lock would abort the interpreter's end.
    while os.read(parent, 4096):
        pass
    os._exit(1)


def _work(line: bytes, channel: BinaryIO) -> None:
    import msgspec

    from edgedeploy.worker.exporting import Loaded
    from edgedeploy.worker.job import ALL_ORDERS, ExportJob, Message, Step

    def say(message: Message) -> None:
        channel.write(msgspec.json.encode(message) + b"\n")

    job = msgspec.json.decode(line, type=ExportJob)
    try:
        loaded = Loaded(job, lambda text: say(Step(order=ALL_ORDERS, text=text)))
    except BaseException as error:  # noqa: BLE001 - the whole traceback is in the log
        say(_failed(error, job, ALL_ORDERS))
        return
    for number in range(len(job.orders)):
        try:
            say(loaded.export(number, lambda text, number=number: say(Step(order=number, text=text))))  # type: ignore[misc]
        except BaseException as error:  # noqa: BLE001 - the other orders go on; the whole traceback is in the log
            say(_failed(error, job, number))


def _failed(error: BaseException, job: ExportJob, number: int) -> Failed:
    """What the other side is told; the traceback goes to the log."""
    import errno
    import traceback

    from edgedeploy.errors import EdgedeployError
    from edgedeploy.worker.job import ALL_ORDERS, Failed

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
            where=job.orders[max(number, 0)].folder,
            seen=str(error),
            next_step="free some space, or set XDG_CACHE_HOME to a larger file system",
        )
    subject = job.model_name if number == ALL_ORDERS else f"{job.model_name} as {job.orders[number].lane.id}"
    return Failed(
        order=number,
        kind="ExportError",
        what=f"the export of {subject} failed in a way edgedeploy does not know",
        where=job.project_file if number == ALL_ORDERS else job.orders[number].lane.exporter,
        seen=f"{type(error).__name__}: {error}"[:500],
        next_step=f"the whole traceback is in {sys.argv[1]}; please report it",
    )


if __name__ == "__main__":
    main()
