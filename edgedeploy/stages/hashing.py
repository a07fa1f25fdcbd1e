"""How far a device is with a file that it hashes. It says nothing meanwhile, so it is looked at from beside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from edgedeploy.errors import EdgedeployError
from edgedeploy.ports import ByteProgress, Connection

_FIRST_LOOK_S, _NEXT_LOOK_S = 2.0, 1.0  # what takes no longer needs no second connection
_LIMIT_S = 20.0
# Who has the file open, and how much that process has read in all: sha256sum reads on, the device helper at places (pread).
_BYTES_READ = """
for open in /proc/[0-9]*/fd/*; do
  [ "$open" -ef "$1" ] || continue
  process=${open%/fd/*}
  while read -r name count; do [ "$name" != rchar: ] || echo "$count"; done <"$process/io"
done 2>/dev/null
exit 0
"""


@contextmanager
def watched(
    another: Callable[[], AbstractContextManager[Connection]], file: str, size_bytes: int, heard: ByteProgress
) -> Iterator[None]:
    """Tell ``heard`` every second how many bytes of a device's file have been read, while it is hashed in here.

    By a connection of its own, which ``another`` opens. Where the device does not tell (it has no /proc), nothing is told.
    """
    over = threading.Event()

    def look() -> None:
        if over.wait(_FIRST_LOOK_S):
            return
        try:
            with another() as connection:
                while not over.is_set():
                    if count := bytes_read(connection, file):
                        heard(min(count, size_bytes))
                    over.wait(_NEXT_LOOK_S)
        except EdgedeployError:  # what cannot be watched is hashed all the same
            return

    thread = threading.Thread(target=look, name="hashing")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def bytes_read(connection: Connection, file: str) -> int:
    """How much has been read by whoever has a file of a device open; 0 where nobody has, or the device does not tell.

    Raises:
        DeviceLostError: the device went away.
    """
    done = connection.run(["sh", "-c", _BYTES_READ.strip(), "sh", file], timeout_s=_LIMIT_S)
    return max((int(word) for word in done.stdout.split() if word.isdigit()), default=0)
