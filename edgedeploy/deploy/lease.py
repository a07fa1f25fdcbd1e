"""Who may use a device: one holder at a time, written on the device itself.

A lease is a symbolic link ``leases/<n>`` whose text says everything: made in one step, or not at all, on every file system that
Android's shell may write (hard links and locks it may not). The highest number counts. Who finds it free or expired makes the
next one; only one of many can. Times are the device's own uptime: neither its clock nor ours has to be right.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edgedeploy.decoding import decode
from edgedeploy.deploy.device_shell import ENTER_ROOT, LIMIT_S, POINT, DeviceShell
from edgedeploy.deploy.holder_process import has_ended
from edgedeploy.errors import DeviceBusyError, DeviceRunError, LeaseLostError

TTL_S = 60
_RACE_PAUSE_S = 0.2
_LOOK_AGAIN_S = 1.0
_WORDS = 4  # boot, expiry, duration, token; then the note
_RACES_S = 30.0  # of 200 who come at once, the last one knows much sooner

_FUNCTIONS = (
    ENTER_ROOT
    + POINT
    + """
folders leases; cd leases || exit 1
case $(uname) in
  Darwin)
    boot=$(sysctl -n kern.bootsessionuuid)
    # When it started: who sets the clock moves this, too, and the difference stays.
    began=$(sysctl -n kern.boottime); began=${began#*sec = }; began=${began%%,*}
    now() { echo $(($(date +%s) - began)); } ;;
  *)
    boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
    now() { if [ -r /proc/uptime ]; then read -r up _ < /proc/uptime; echo "${up%%.*}"; else date +%s; fi; } ;;
esac
boot=${boot:-unknown}
top() { ls | grep -E '^[0-9]{1,15}$' | sort -n | tail -n 1; }
# The token of lease $1, and how long it is good. After a reboot the holder has all its time once more. What cannot be true is
# damage, and counts as free.
token_of() { set -f; set -- $(readlink "$1" 2>/dev/null); set +f; echo "$4"; }
left() {
  set -f; set -- $(readlink "$1" 2>/dev/null); set +f
  case "$2,$3" in ,*|*,|*[!0-9,]*) echo 0; return ;; esac
  if [ "$1" = "$boot" ]; then l=$(($2 - $(now))); else l=$(($3 - $(now))); fi
  if [ "$l" -gt 0 ] && [ "$l" -le "$3" ]; then echo "$l"; else echo 0; fi
}
"""
)
_TAKE = (
    _FUNCTIONS
    + """
n=$(top); n=${n:-0}
if [ "$n" -gt 0 ] && l=$(left "$n") && [ "$l" -gt 0 ]; then
  if [ "$(token_of "$n")" = "$2" ]; then echo "granted $n"; exit 0; fi
  echo "held $l"; readlink "$n"; exit 0
fi
m=$((n + 1))
said=$(ln -s "$boot $(($(now) + $3)) $3 $2 $4" "$m" 2>&1) ||
  case $said in *exists*) echo raced; exit 0 ;; *) echo "$said" >&2; exit 1 ;; esac
[ "$(top)" = "$m" ] || { rm -f "$m"; echo raced; exit 0; }
for old in * .new.*; do
  case $old in .new.*[0-9]) rm -rf "$old" ;; *[!0-9]*) ;; *) [ "$old" -ge "$m" ] || rm -rf "$old" ;; esac
done
echo "granted $m"
"""
)
_RENEW = (
    _FUNCTIONS
    + """
mine() { [ "$(top)" = "$5" ] && [ "$(token_of "$5")" = "$2" ]; }
if mine "$@"; then point "$5" "$boot $(($(now) + $3)) $3 $2 $4"; mine "$@" && echo renewed; fi
exit 0
"""
)
_RELEASE = (
    _FUNCTIONS
    + """
n=$(top); [ -n "$n" ] || exit 0
if [ -z "$2" ] || [ "$(token_of "$n")" = "$2" ]; then point "$n" "$boot 0 0 - {}"; echo released; fi
exit 0
"""
)
_LIST = (
    _FUNCTIONS
    + """
n=$(top); [ -n "$n" ] || exit 0
echo "held $(left "$n")"; readlink "$n"
exit 0
"""
)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who has a device, what for, and how long it is theirs if they do not renew it."""

    owner: str
    purpose: str
    left_s: int
    token: str = ""


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """The words of a lease's link, after boot, expiry, duration and token."""

    owner: str = ""
    purpose: str = ""


class Leases:
    """The leases of one device, over an open connection."""

    def __init__(self, shell: DeviceShell, workdir: str) -> None:
        self._shell = shell
        self._workdir = workdir

    def holder(self) -> Holder | None:
        """Who has the device; None when it is free."""
        held = _read(self._shell.run(_LIST, self._workdir).stdout)
        return held if held and held.left_s > 0 else None

    def release(self, token: str = "", *, limit_s: float = LIMIT_S) -> bool:
        """Give back the lease of ``token``, or whosever it is; whether there was one. Takes no longer than ``limit_s``."""
        return b"released" in self._shell.run(_RELEASE, self._workdir, token, timeout_s=limit_s).stdout

    def take(
        self, *, token: str, owner: str, purpose: str, ttl_s: int = TTL_S, wait_s: float = 0, waiting: Callable[[Holder], None]
    ) -> int:
        """Wait up to ``wait_s`` until the device is free, and take it; the number of the lease. ``waiting`` is told of holders.

        Who has the lease of ``token`` already gets it again. A lease of a process of this machine that has ended counts as free.

        Raises:
            DeviceBusyError: it did not become free.
            DeviceRunError: what lies there can be no lease, and stands in the way.
        """
        until = time.monotonic() + wait_s
        text = _text(owner, purpose)
        while True:
            said = self._shell.run(_TAKE, self._workdir, token, str(ttl_s), text).stdout
            if said.startswith(b"granted "):
                return int(said.split()[1])
            held = _read(said)
            left_s = until - time.monotonic()
            if held is not None and has_ended(held.token):
                self.release(held.token)
                continue
            if held is None and left_s < -_RACES_S:
                raise DeviceRunError(
                    "the device's lease cannot be taken, though nobody has it",
                    where=f"device {self._shell.device}: {self._workdir}/leases",
                    seen=said.decode(errors="replace").strip(),
                    next_step=f"remove what is damaged there: rm -r {self._workdir}/leases",
                )
            if held is not None and left_s <= 0:
                raise DeviceBusyError(
                    f"{self._shell.device} is in use by {held.owner or 'somebody'}",
                    where=f"device {self._shell.device}",
                    seen=f"{held.purpose or 'a lease'}; free in {held.left_s} s unless it is renewed",
                    next_step="wait for it with --wait SECONDS; `edgedeploy lease list` shows who has what",
                )
            if held is not None:
                waiting(held)
            pause_s = _RACE_PAUSE_S if held is None else min(left_s, held.left_s, _LOOK_AGAIN_S)
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that those who wait do not come at once

    def renew(self, number: int, *, token: str, owner: str, purpose: str, ttl_s: int = TTL_S) -> None:
        """Keep a lease for another ``ttl_s``.

        Raises:
            LeaseLostError: it had expired, and somebody else took the device.
        """
        said = self._shell.run(_RENEW, self._workdir, token, str(ttl_s), _text(owner, purpose), str(number)).stdout
        if b"renewed" not in said:
            raise LeaseLostError(
                "somebody else has taken the device: this side was silent for too long",
                where=f"device {self._shell.device}",
                next_step="run it again; --wait SECONDS waits until the device is free",
            )


def new_token() -> str:
    """A name for one holder that no other has."""
    return secrets.token_hex(8)


def _text(owner: str, purpose: str) -> str:
    # ASCII, and short: a link's text has its limits.
    return json.dumps({"owner": owner[:200], "purpose": purpose[:200]}, separators=(",", ":"))


def _read(said: bytes) -> Holder | None:
    """``held <seconds left>`` and the link's text. Words that cannot be read leave the holder without a name."""
    first, _, text = said.partition(b"\n")
    if not first.startswith(b"held "):
        return None
    try:
        note = decode(b"{" + text.strip().partition(b"{")[2], _Note)
    except msgspec.DecodeError:
        note = _Note()
    words = text.decode(errors="replace").split(" ", _WORDS)
    token = words[_WORDS - 1] if len(words) > _WORDS else ""
    return Holder(owner=note.owner, purpose=note.purpose, left_s=int(first.split()[1]), token=token)
