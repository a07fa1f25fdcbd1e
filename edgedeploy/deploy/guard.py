"""Ends a program of a device when nobody waits for it any more: a script that starts it, with a guard beside it.

A host that crashes or a cable that is pulled cannot end what it has started. So a guard on the device looks once a second at
the leader of the program's process group, which every transport makes: local, it is the program itself, and its parent the host;
over ssh, the parent is the server's own process for the connection; adbd sends the leader a SIGHUP. When the leader is gone or
has another parent, nobody is there. Who goes without a word (a cable that is cut, an edgedeploy that is killed while its adb
client lives on) is noticed by the lease, which is renewed no more. And nothing runs for longer than it may. Where there is no
/proc, nothing is guarded.
"""

from __future__ import annotations

from collections.abc import Sequence

_LEASE_EVERY_S = 10

# Fields of proc_pid_stat(5) behind the name, which may hold anything: state, parent, group; the 20th is when it began.
_FACTS = """
facts() {
  read -r line <"/proc/$1/stat" || return 1
  set -f; set -- ${line##*) }; set +f
  state=$1 parent=$2 group=$3 began=${20}
}
"""
_GUARD = (
    _FACTS
    + f"""
trap '' HUP INT TERM
owner=$1 owner_began=$2 leader=$3 leader_parent=$4 left=$5 leases=$6 log=$7
why='its time was over'
alive() {{ facts "$1" && [ "$state" != Z ]; }}
lease_is_over() {{
  last=0
  for link in "$leases"/[0-9]*; do
    case ${{link##*/}} in *[!0-9]*) ;; *) [ "${{link##*/}}" -le "$last" ] || last=${{link##*/}} ;; esac
  done
  [ "$last" -gt 0 ] || return 1
  set -f; set -- $(readlink "$leases/$last"); set +f
  case $2 in ''|*[!0-9]*) return 1 ;; esac
  read -r up rest </proc/uptime && [ "$2" -lt "${{up%%.*}}" ]
}}
while [ "$left" -gt 0 ]; do
  sleep 1; left=$((left - 1))
  alive "$owner" && [ "$began" = "$owner_began" ] || exit 0
  alive "$leader" && [ "$parent" = "$leader_parent" ] || {{ why='nobody waited for it'; break; }}
  [ $((left % {_LEASE_EVERY_S})) -ne 0 ] || ! lease_is_over || {{ why="the device's lease was over"; break; }}
done
echo "$why" >>"$log"
kill -s KILL -- "-$leader"
"""
)
_SCRIPT = (
    _FACTS
    + """
guard=$1 left=$2 leases=$3 log=$4; shift 4
facts $$ 2>/dev/null || exec "$@"
own_began=$began leader=$group
facts "$leader" 2>/dev/null || exec "$@"
alone=; ! command -v setsid >/dev/null || alone=setsid
$alone sh -c "$guard" sh $$ "$own_began" "$leader" "$parent" "$left" "$leases" "$log" </dev/null >/dev/null 2>&1 &
exec "$@"
"""
)


def guarded(argv: Sequence[str], *, limit_s: int, leases: str, log: str) -> list[str]:
    """``argv``, which ends after ``limit_s``, or when nobody waits for it.

    ``leases`` is the folder of the device's leases; one that is not there says nothing. ``log`` is a file for why it was ended.
    """
    return ["sh", "-c", _SCRIPT.strip(), "sh", _GUARD.strip(), str(limit_s), leases, log, *argv]
