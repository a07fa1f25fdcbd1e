"""A load beside a program on a device: a script that starts both and ends the load, and what it says of it.

The load has a session of its own, so that all of it can be ended at once. When the program has ended, the shell that started
both ends the load; when that shell is killed, a keeper in another session does within a second. Neither asks the host.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgedeploy.domain.mode import Concurrent
from edgedeploy.shell import quote_command

_SAID_BYTES = 2000
_SETTLE_S = 0.5

# 64 MB are more than the caches of phones, boards and most PCs hold. The kernel writes them for /dev/zero.
_BUSY = "while :; do :; done &"
_MEMORY = "{ while dd if=/dev/zero of=/dev/null bs=67108864 count=16 2>/dev/null; do :; done; echo 'dd failed'; kill $$; } &"

_SCRIPT = f"""
load=$1 report=$2; shift 2
[ -d /proc/$$ ] || {{ echo "no load can be had: this system has no /proc" >&2; exit 1; }}
command -v setsid >/dev/null || {{ echo "no load can be had: this system has no setsid" >&2; exit 1; }}
setsid sh -c "$load" </dev/null >"$report.said" 2>&1 &
load=$!
setsid sh -c 'trap "" HUP INT TERM
while [ -d "/proc/$1" ]; do sleep 1; done
kill -s KILL -- "-$2"' sh $$ "$load" </dev/null >/dev/null 2>&1 &
keeper=$!
sleep {_SETTLE_S} || sleep 1
"$@"
code=$?
exec 2>/dev/null
line=; read -r line <"/proc/$load/stat"
case ${{line##*) }} in Z*|'') ended=1 ;; *) ended= ;; esac
kill -s KILL -- "-$load" "-$keeper"
wait "$load"
last=$?
[ -z "$ended" ] || {{ echo "ended $last"; tail -c {_SAID_BYTES} "$report.said"; echo; }} >>"$report"
exit $code
"""


def beside_load(argv: Sequence[str], load: Concurrent, report: str) -> list[str]:
    """``argv`` with the load beside it; ``report`` is a file there that tells when the load ended before the program did."""
    lines = [_BUSY] * load.busy + [_MEMORY] * load.memory
    # In the foreground: when it ends, the load has ended.
    lines.append(f"exec {quote_command(['sh', '-c', load.command])}" if load.command.strip() else "wait")
    return ["sh", "-c", _SCRIPT.strip(), "sh", "\n".join(lines), report, *argv]


def words_of(load: Concurrent) -> str:
    """``2 busy programs, 1 writing memory, `stress` ``."""
    parts = []
    if load.busy:
        parts.append(f"{load.busy} busy program{'s' if load.busy > 1 else ''}")
    if load.memory:
        parts.append(f"{load.memory} program{'s' if load.memory > 1 else ''} writing memory")
    if load.command.strip():
        parts.append(f"`{load.command.strip()}`")
    return ", ".join(parts)


def early_end(report: str) -> str:
    """Why a load ended before the program beside it: its exit code and its last words; empty where none did."""
    first, _, said = report.partition("\n")
    code = first.removeprefix("ended ")
    if not first.startswith("ended ") or not code.isdigit():
        return ""
    return f"exit code {code}" + (f": {' '.join(said.split())[:400]}" if said.strip() else "")
