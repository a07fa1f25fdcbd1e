"""Holds a device's clock while a program runs there, and gives it back as it was found: a script, and the parser of its log.

What was found is written down on the device before anything is changed. The clock is given back when the program has ended, by
the shell that started it; or, when that shell is killed or its time is over, by a keeper: a process in a session of its own that
looks every second whether the shell is still there. It asks nobody: a host that crashed, a cable that was pulled, all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgedeploy.domain.conditions import FixedClock
from edgedeploy.domain.target import FixedClockWish

CPU_FOLDER = "/sys/devices/system/cpu"
PERFORMANCE = "performance"
"""The governor that keeps a processor at the most that it is allowed (admin-guide/pm/cpufreq.rst)."""
_MODE = "mode"
_ANDROID_MODE = "cmd power set-fixed-performance-mode-enabled"

# Run by whoever may write the files. Found twice: the least frequency cannot be above the greatest, whichever is written first.
_ACT = f"""
verb=$1 tree=$2 state=$3 owner=$4 wanted=$5 cpus=$6 watched=$7 left=$8
write() {{
  case $1 in
  {_MODE}) {_ANDROID_MODE} "$2" ;;
  "$tree"/cpu*) echo "$2" >"$1" ;;
  esac
}}
folders() {{ if [ -n "$cpus" ]; then for cpu in $cpus; do echo "$tree/cpu$cpu"; done; else echo "$tree"/cpu[0-9]*; fi; }}
mine() {{ [ ! -f "$state/owner" ] || {{ read -r name <"$state/owner" && [ "$name" = "$owner" ]; }}; }}
case $verb in
claim)
  mkdir -p "$state" || exit 1
  [ -f "$state/found" ] || {{
    if [ "$wanted" = {_MODE} ]; then echo "{_MODE} false"; else
      for cpu in "$tree"/cpu[0-9]*; do for file in scaling_governor scaling_min_freq scaling_max_freq; do
        read -r value <"$cpu/cpufreq/$file" && echo "$cpu/cpufreq/$file $value"
      done; done
    fi >"$state/found.new" && mv "$state/found.new" "$state/found"
  }} || exit 1
  echo "$owner" >"$state/owner" ;;
fix)
  case $wanted in
  {_MODE}) if write {_MODE} true >/dev/null; then echo {_MODE}
    else echo "refused this device has no fixed performance mode, and without root there is no other way"; fi ;;
  *) for cpu in $(folders); do
    if [ "$wanted" = {PERFORMANCE} ]; then write "$cpu/cpufreq/scaling_governor" {PERFORMANCE}
    else for file in max min max; do write "$cpu/cpufreq/scaling_${{file}}_freq" "$wanted"; done; fi
    read -r governor <"$cpu/cpufreq/scaling_governor"
    read -r least <"$cpu/cpufreq/scaling_min_freq"
    read -r most <"$cpu/cpufreq/scaling_max_freq"
    echo "cpu ${{cpu##*/cpu}} $governor $least $most"
  done ;;
  esac ;;
back)
  [ -f "$state/found" ] && mine || exit 0
  for round in 1 2; do while read -r path value; do write "$path" "$value"; done <"$state/found"; done
  while read -r path value; do
    now=$value
    [ "$path" = {_MODE} ] || read -r now <"$path"
    [ "$now" = "$value" ] || echo "left $path $now $value"
  done <"$state/found"
  mine && rm -f "$state/found" "$state/owner" && rmdir "$state"
  echo back ;;
keep)
  trap '' HUP INT TERM
  while [ -d "/proc/$watched" ] && [ "$left" -gt 0 ]; do
    sleep 1; left=$((left - 1))
    [ -f "$state/found" ] && mine || exit 0
  done
  sh -c "$9" sh back "$tree" "$state" "$owner" ;;
esac
"""

_SCRIPT = """
act=$1 log=$2 tree=$3 state=$4 wanted=$5 cpus=$6 limit=$7; shift 7
say() { echo "$@" >>"$log"; }
[ -d /proc/$$ ] || { say "refused this system has no /proc"; exec "$@"; }
one=$tree/cpu${cpus%% *}/cpufreq
[ -n "$cpus" ] || for one in "$tree"/cpu[0-9]*/cpufreq; do break; done
ways="sh -c:sudo -n sh -c"
[ ! -x /system/bin/sh ] || ways="sh -c:su 0 sh -c:su 0 -c"
as= IFS=:
for way in $ways; do
  IFS=' '
  [ "$($way 'test -w "$1" && echo yes' sh "$one/scaling_governor" 2>/dev/null </dev/null)" != yes ] || { as=$way; break; }
done
unset IFS
if [ -z "$as" ] && [ -x /system/bin/cmd ]; then as="sh -c" wanted=mode; fi
if [ -z "$as" ]; then
  if [ -e "$one/scaling_governor" ]; then say "refused $one may not be written: it needs root, or sudo without a password"
  else say "refused the kernel has no cpufreq for these processors"; fi
  exec "$@"
fi
do_it() { verb=$1; $as "$act" sh "$verb" "$tree" "$state" "$$" "$wanted" "$cpus" "$$" "$limit" "$act" </dev/null; }
do_it claim 2>/dev/null || { say "refused what was found cannot be written down"; exec "$@"; }
alone=; ! command -v setsid >/dev/null || alone=setsid
$alone $as "$act" sh keep "$tree" "$state" "$$" "$wanted" "$cpus" "$$" "$limit" "$act" </dev/null >/dev/null 2>&1 &
say began
do_it fix 2>/dev/null >>"$log"
"$@"
code=$?
do_it back 2>/dev/null >>"$log"
exit $code
"""


def clocked(
    argv: Sequence[str],
    log: str,
    *,
    state: str,
    wish: FixedClockWish,
    cpus: Sequence[int],
    limit_s: int,
    tree: str = CPU_FOLDER,
) -> list[str]:
    """``argv`` with the clock of ``cpus`` (none named: all) held meanwhile, for ``limit_s`` at most.

    ``state`` is a folder on the device where it is written down how the clock was; ``log`` a file there for what was done.
    """
    wanted = PERFORMANCE if wish is True else str(int(wish) // 1000)
    names = " ".join(map(str, cpus))
    return ["sh", "-c", _SCRIPT.strip(), "sh", _ACT.strip(), log, tree, state, wanted, names, str(limit_s), *argv]


def parse_clocked(text: str, wish: FixedClockWish) -> FixedClock:
    """What was done for all programs, as their logs tell. Never raises."""
    how, refused, left = "", "", dict[str, str]()
    pending = False
    for row in text.replace("\r\n", "\n").split("\n"):
        kind, _, rest = row.partition(" ")
        if kind == "refused":
            refused = refused or rest
        elif kind == "began":
            pending = True
        elif kind == "back":
            pending = False
        elif kind == _MODE:
            how = "Android's fixed performance mode"
        elif kind == "cpu":
            held, complaint = _held(rest.split(), wish)
            how, refused = held or how, refused or complaint
        elif kind == "left" and len(words := rest.split()) == 3:  # noqa: PLR2004
            left[words[0]] = f"{words[0]} is {words[1]}, was {words[2]}"
    if pending:
        left["clock"] = "the last program's clock was given back by no one yet; a keeper on the device does so"
    if not how and not refused:
        refused = "the device did not say what it did"
    return FixedClock(how="" if refused else how, refused=refused, left=tuple(left.values()))


def _held(words: list[str], wish: FixedClockWish) -> tuple[str, str]:
    """How a processor is held, and why it is not."""
    if len(words) != 4:  # noqa: PLR2004
        return "", "the device did not say what it did"
    cpu, governor, least, most = words
    if wish is True:
        return (
            ("governor performance", "")
            if governor == PERFORMANCE
            else ("", f"processor {cpu} stays with the governor {governor}")
        )
    if least == most == str(int(wish) // 1000):
        return f"held at {int(wish) / 1e9:.3g} GHz", ""
    return "", f"processor {cpu} does not take {int(wish) / 1e9:.3g} GHz: it may run at {least} to {most} kHz"
