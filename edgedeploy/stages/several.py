"""What several processes that one shell has started on a device left behind, taken apart again."""

from __future__ import annotations

from edgedeploy.errors import RunnerError
from edgedeploy.ports import Completed

# Longer ones are no documents, and quoted in part.
STDOUT_BYTES, STDERR_BYTES = 64 << 20, 64 << 10


def apart(done: Completed, count: int, device: str) -> list[Completed]:
    """One for each of ``count`` processes.

    The shell prints a line with all exit codes, the sizes of all outputs and the sizes of all that was said on stderr; then the
    outputs and what was said, in the same order.

    Raises:
        RunnerError: that is not what it printed.
    """
    line, _, rest = done.stdout.partition(b"\n")
    try:
        numbers = [int(word) for word in line.split()]
        pieces = _cut(rest, numbers[count:])
        codes, stdouts, stderrs = numbers[:count], pieces[:count], pieces[count:]
        ended = list(zip(codes, stdouts, stderrs, strict=True))
    except ValueError:
        seen = text_of(done.stderr or done.stdout[:300])
        raise RunnerError(f"what {count} runners left behind cannot be read", where=f"device {device}", seen=seen) from None
    return [Completed(exit_code=code, stdout=stdout, stderr=stderr) for code, stdout, stderr in ended]


def _cut(content: bytes, sizes: list[int]) -> list[bytes]:
    if sum(sizes) != len(content):
        raise ValueError
    pieces = []
    for size in sizes:
        pieces.append(content[:size])
        content = content[size:]
    return pieces


def text_of(said: bytes) -> str:
    """What was said, for people."""
    return said.decode(errors="replace").strip()
