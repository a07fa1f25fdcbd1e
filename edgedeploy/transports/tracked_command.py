"""A remote command that tells its process id and its exit code itself.

``adb`` ends with code 1 for its own troubles as well as for a command's; an SSH server may die before it can tell an
exit status. So the command runs under a small sh script that writes two lines to stderr, each beginning with a random
token: the process id before, the exit code after. A command is over only when the second line has come *and* the way
to the device has delivered :data:`WITNESS_EXIT_CODE`, which proves that nothing behind that line was cut off.

The process id is that of the process group, which adbd and sshd make for every command: a time-out kills that group.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

import msgspec

from edgedeploy.errors import UsageError
from edgedeploy.shell import quote_command

WITNESS_EXIT_CODE = 77
"""What the wrapping script itself ends with; neither adb nor ssh uses it for a failure of its own."""

# echo is built into every shell; printf is not in mksh, and would cost a process on a phone. The inner parentheses keep
# a builtin such as exit from ending the wrapper.
_SCRIPT = f't=$1; shift; echo "$t $$" >&2; ("$@"); echo "$t $?" >&2; exit {WITNESS_EXIT_CODE}'
_KILL_SCRIPT = 'kill -s KILL -- "-$1"'


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """What stderr told: None for what has not come (yet). ``stderr`` is the command's own, without our lines."""

    process_group: int | None
    exit_code: int | None
    stderr: bytes


def new_token() -> str:
    """Return a word that no command prints by chance."""
    return "edgedeploy-" + secrets.token_hex(8)


def tracked_line(argv: Sequence[str], token: str) -> str:
    """Return the shell line that runs ``argv`` and reports to :func:`read_tracked`.

    Raises:
        UsageError: as :func:`edgedeploy.shell.quote_command`.
    """
    if not argv:
        raise UsageError("an empty command cannot be run")
    # exec: whatever the login shell is, it becomes our sh, and sh's process id is the process group's.
    return "exec " + quote_command(["sh", "-c", _SCRIPT, "sh", token, *argv])


def kill_line(process_group: int) -> str:
    """Return the shell line that kills a process group, without mercy and without asking whether it is there."""
    return "exec " + quote_command(["sh", "-c", _KILL_SCRIPT, "sh", str(process_group)])


def read_tracked(stderr: bytes, token: str) -> Tracked:
    """Take our two lines out of what came on stderr; works on any beginning of it as well."""
    mark = re.compile(re.escape(token.encode()) + rb" (\d{1,10})\r?\n")
    head = mark.search(stderr)
    if head is None:
        return Tracked(process_group=None, exit_code=None, stderr=stderr)
    before, rest = stderr[: head.start()], stderr[head.end() :]
    tail = mark.search(rest)
    if tail is None:
        return Tracked(process_group=int(head[1]), exit_code=None, stderr=before + rest)
    own = before + rest[: tail.start()] + rest[tail.end() :]
    return Tracked(process_group=int(head[1]), exit_code=int(tail[1]), stderr=own)
